#include "parallel/buckets.h"

#include <algorithm>
#include <map>
#include <optional>

#include "core/error.h"
#include "parallel/ordered_reduce.h"
#include "parallel/reshard.h"
#include "parallel/tree_reduce.h"

namespace lockstep {

namespace {

/// Merges the terms of a lane into the rank's stack of partial sums. Inputs are the terms, which lie in the range of
/// the output (floats in Region::Sum); they are read through it.
class MergeLaneOp final : public Op {
 public:
  MergeLaneOp(int64_t floats, Merge merge) : floats(floats), merge(std::move(merge)) {}
  std::string_view name() const override { return "merge_lane"; }
  std::vector<Type> infer(std::span<const Type>) const override { return {{Shape{floats}, DType::f32}}; }
  std::vector<Rule> rules() const override { return {}; }

  const int64_t floats;
  const Merge merge;
};

struct Reduction {
  Value term, total;
  size_t begin = 0, end = 0;  // bytes in Region::Sum
  std::vector<int> axes;
  Section section;
  Merge merge;
};

std::vector<std::vector<Reduction>> group(const std::vector<Reduction>& reductions, const BucketRequest& request) {
  std::vector<std::vector<Reduction>> groups;
  for (const Reduction& next : reductions) {
    const size_t limit = groups.size() <= 1 ? request.first_bytes : request.bucket_bytes;
    const auto is_gradient = [&](const Reduction& r) { return r.begin < request.gradient_bytes; };
    if (groups.empty() || next.end - groups.back()[0].begin > limit || next.axes != groups.back()[0].axes ||
        next.merge != groups.back()[0].merge ||
        (request.phased && next.section.phase != groups.back()[0].section.phase) ||
        (request.sharers > 1 && is_gradient(next) != is_gradient(groups.back()[0])))
      groups.emplace_back();
    groups.back().push_back(next);
  }
  return groups;
}

}  // namespace

Interval owned_bytes(size_t begin, size_t end, int sharers, int sharer) {
  const Interval part = TreeAllReduce::owned(sharers, sharer, (end - begin) / sizeof(float));
  const auto at = [&](int64_t floats) {
    return static_cast<int64_t>(begin) + floats * static_cast<int64_t>(sizeof(float));
  };
  return {at(part.begin), at(part.end)};
}

std::vector<Bucket> bucket_reductions(PlacedGraph& placed, const BucketRequest& request, FixedLocations& fixed) {
  std::vector<Reduction> reductions;
  Graph graph = placed.graph.without_nodes();
  for (const Node& node : placed.graph.nodes()) {
    const auto* reduce = dynamic_cast<const ReduceOp*>(node.op.get());
    if (!reduce) {
      graph.append(node);
      continue;
    }
    const Value term = node.in[0];
    const auto found = request.sums.find(reduce->of);
    if (found == request.sums.end()) throw Error("{}: no place was given for the sum", node.name);
    const size_t begin = found->second.offset;
    const size_t end = begin + aligned(placed.local[static_cast<size_t>(term.id)].bytes());
    reductions.push_back({term, node.out[0], begin, end, reduce->axes, node.section, reduce->merge});
    graph.set_role(term, Role::Sum);
    fixed[term.id] = found->second;
    fixed[node.out[0].id] = {Region::Total, begin};
  }
  std::ranges::sort(reductions, {}, &Reduction::begin);

  const auto flat_value = [&](const std::string& name, int64_t floats, Location location) {
    const Type type{Shape{floats}, DType::f32};
    const Value value = graph.source(name, type, Role::Sum);
    placed.local.push_back(type);
    placed.placement.emplace_back(placed.placement[0].size());
    placed.slices.emplace_back(placed.slices[0].size());
    fixed[value.id] = location;
    return value;
  };

  std::vector<Bucket> buckets;
  for (const auto& members : group(reductions, request)) {
    Bucket bucket{.begin = members.front().begin, .end = members.back().end};
    const size_t begin = bucket.begin;
    const auto floats = static_cast<int64_t>((bucket.end - begin) / sizeof(float));
    const std::string name = fmt::format("bucket{}", buckets.size());
    const Value rank_sum = flat_value(name + "/rank_sum", floats, {Region::Sum, begin});
    const Value total = flat_value(name + "/total", floats, {Region::Total, begin});
    const Section section = members.front().section;
    Node merge{name + "/merge", std::make_shared<MergeLaneOp>(floats, members.front().merge), {}, {rank_sum}, section};
    Node reduce{name + "/all_reduce", nullptr, {rank_sum}, {total}, section};
    if (begin < request.gradient_bytes) {
      bucket.owned = owned_bytes(begin, std::min(bucket.end, request.gradient_bytes), request.sharers, request.sharer);
      bucket.gradients = flat_value(name + "/gradients", bucket.owned.size() / static_cast<int64_t>(sizeof(float)),
                                    {Region::Total, static_cast<size_t>(bucket.owned.begin)});
      reduce.out.push_back(bucket.gradients);
    }
    for (const Reduction& member : members) {
      merge.in.push_back(member.term);
      reduce.out.push_back(member.total);
    }
    std::vector<Type> out;
    for (Value value : reduce.out) out.push_back(graph.type(value));
    reduce.op = std::make_shared<AllReduceOp>(members.front().axes, out, request.sharers > 1 && bucket.gradients,
                                              members.front().merge);
    graph.append(std::move(merge));
    graph.append(std::move(reduce));
    buckets.push_back(bucket);
  }
  placed.graph = std::move(graph);
  return buckets;
}

namespace {

/// Sums over the mesh: along the first axis by the canonical tree or, in fast mode, as the library does it; along the
/// others in the order of their members. One range at a time.
class MeshReduce {
 public:
  MeshReduce(Numerics numerics, const Mesh& mesh, Backend& backend, size_t largest) : mesh_(mesh) {
    if (numerics == Numerics::reproducible || mesh.strategy().shard_optimizer)
      tree_.emplace(mesh.sums_along(0), backend, largest);
    size_t scratch = 0;
    for (size_t axis = 1; axis < mesh.strategy().mesh.size(); ++axis)
      scratch = std::max(scratch, ordered_scratch(mesh.sums_along(axis).size(), DType::f32, largest));
    scratch_ = Arena(backend, scratch);
  }

  /// With `scatter`, the sum is there in the part of the range alone that the rank owns along the first axis.
  void run(std::span<const int> axes, bool scatter, float* data, size_t n, Stream& stream) {
    for (int axis : axes) {
      Communicator& comm = mesh_.sums_along(static_cast<size_t>(axis));
      if (axis == 0 && scatter) {
        tree_->scatter(data, n, stream);
        const Interval part = TreeAllReduce::owned(comm.size(), comm.rank(), n);
        data += part.begin;
        n = static_cast<size_t>(part.size());
      } else if (axis > 0)
        ordered_all_reduce(comm, DType::f32, reinterpret_cast<std::byte*>(data), n, scratch_.data(), stream);
      else if (tree_)
        tree_->run(data, n, stream);
      else
        comm.all_reduce(data, n, stream);
    }
  }

 private:
  const Mesh& mesh_;
  std::optional<TreeAllReduce> tree_;
  Arena scratch_;
};

/// Addition, or the operator's kernel.
Combine combine_by(const KernelTable& kernels, const Merge& merge, int64_t n) {
  if (!merge) return addition(static_cast<size_t>(n));
  const Type type{Shape{n}};
  Kernel kernel = kernels.make(*merge, {{type, type}, {type}});
  if (kernel.workspace > 0 || kernel.packed > 0) throw Error("{} merges sums, but takes memory", merge->name());
  return [kernel = std::move(kernel), type](Stream& stream, float* to, const float* from) {
    const Tensor both[]{{reinterpret_cast<std::byte*>(to), type},
                        {reinterpret_cast<std::byte*>(const_cast<float*>(from)), type}};
    kernel.run(stream, {.in = both, .out = {both, 1}});
  };
}

/// Sums that are merged by an operator lie alike along all axes but the first.
Kernel merge_over_ranks(const Mesh& mesh, Backend& backend, const AllReduceOp& op, int64_t n, Combine combine) {
  if (op.axes != std::vector{0}) throw Error("{} merges sums along the first axis alone", op.merge->name());
  Communicator& comm = mesh.sums_along(0);
  const auto floats = static_cast<size_t>(n);
  // Memory of its own: it runs beside nodes that share theirs.
  const auto scratch = std::make_shared<Arena>(backend, comm.size() > 1 ? floats * sizeof(float) : 0);
  return {.run =
              [&comm, floats, scratch, combine = std::move(combine)](Stream& stream, const Args& args) {
                combine_whole(comm, args.in[0].as(), floats, reinterpret_cast<float*>(scratch->data()), combine,
                              stream);
              },
          .capturable = mesh.world().capturable()};
}

}  // namespace

void add_reduction_kernels(KernelTable& kernels, Numerics numerics, const Mesh& mesh, Backend& backend,
                           size_t largest) {
  kernels.add<MergeLaneOp>([&kernels](const MergeLaneOp& op, const Signature&) {
    return Kernel{.run = [combine = combine_by(kernels, op.merge, op.floats)](Stream& stream, const Args& args) {
      merge_lane(stream, args.out[0].as(), args.slot_bytes, args.lane, combine);
    }};
  });
  const auto reduce = std::make_shared<MeshReduce>(numerics, mesh, backend, largest);
  kernels.add<AllReduceOp>([reduce, &mesh, &backend, &kernels](const AllReduceOp& op, const Signature& signature) {
    const int64_t n = signature.in[0].shape.elements();
    if (op.merge) return merge_over_ranks(mesh, backend, op, n, combine_by(kernels, op.merge, n));
    return Kernel{.run =
                      [reduce, n, axes = op.axes, scatter = op.scatter](Stream& stream, const Args& args) {
                        reduce->run(axes, scatter, args.in[0].as(), static_cast<size_t>(n), stream);
                      },
                  .capturable = mesh.world().capturable()};
  });
  kernels.add<GatherOwnedOp>([&mesh](const GatherOwnedOp&, const Signature& signature) {
    const auto n = static_cast<size_t>(signature.out[0].shape.elements());
    return Kernel{
        .run = [&mesh, n](Stream& stream,
                          const Args& args) { TreeAllReduce::gather(mesh.along(0), args.out[0].as(), n, stream); },
        .capturable = mesh.along(0).capturable()};
  });
  kernels.add<RankSumOp>([&mesh](const RankSumOp& op, const Signature& signature) {
    const auto n = static_cast<size_t>(signature.in[0].shape.elements());
    size_t scratch = 0;
    for (size_t axis : op.axes) scratch = std::max(scratch, ordered_scratch(mesh.along(axis).size(), DType::f32, n));
    return Kernel{.workspace = scratch,
                  .run =
                      [&mesh, n, axes = op.axes](Stream& stream, const Args& args) {
                        stream.copy(args.out[0].data, args.in[0].data, n * sizeof(float));
                        for (size_t axis : axes)
                          ordered_all_reduce(mesh.along(axis), DType::f32, args.out[0].data, n, args.workspace, stream);
                      },
                  .capturable = mesh.world().capturable()};
  });
  kernels.add<GatherRanksOp>([&mesh](const GatherRanksOp& op, const Signature& signature) {
    Communicator& comm = mesh.along(op.axis);
    return Kernel{.run =
                      [&comm, bytes = signature.in[0].bytes(), order = op.order](Stream& stream, const Args& args) {
                        std::vector<Message> messages;
                        for (size_t place = 0; place < order.size(); ++place) {
                          std::byte* const to = args.out[0].data + place * bytes;
                          if (order[place] == comm.rank())
                            stream.copy(to, args.in[0].data, bytes);
                          else
                            messages.push_back({order[place], args.in[0].data, bytes, to, bytes});
                        }
                        comm.exchange(messages, stream);
                      },
                  .capturable = comm.capturable()};
  });
}

}  // namespace lockstep
