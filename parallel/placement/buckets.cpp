#include "parallel/placement/buckets.h"

#include <algorithm>
#include <map>

#include "core/error.h"
#include "parallel/collectives/all_reduce.h"
#include "parallel/collectives/merge_lane.h"

namespace lockstep {

namespace {

struct Reduction {
  Value term, total;
  size_t begin = 0, end = 0;  // bytes in Region::sum
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
    const size_t end = begin + aligned(placed.local[term].bytes());
    reductions.push_back({term, node.out[0], begin, end, reduce->axes, node.section, reduce->merge});
    graph.set_role(term, Role::sum);
    fixed[term] = found->second;
    fixed[node.out[0]] = {Region::total, begin};
  }
  std::ranges::sort(reductions, {}, &Reduction::begin);

  const auto flat_value = [&](const std::string& name, int64_t floats, Location location) {
    const Type type{Shape{floats}, DType::f32};
    const Value value = graph.source(name, type, Role::sum);
    const size_t axes = placed.placement[Value{0}].size();
    placed.record(type, Placements(axes), std::vector<Slices>(axes));
    fixed[value] = location;
    return value;
  };

  std::vector<Bucket> buckets;
  for (const auto& members : group(reductions, request)) {
    Bucket bucket{.begin = members.front().begin, .end = members.back().end};
    const size_t begin = bucket.begin;
    const auto floats = static_cast<int64_t>((bucket.end - begin) / sizeof(float));
    const std::string name = fmt::format("bucket{}", buckets.size());
    const Value rank_sum = flat_value(name + "/rank_sum", floats, {Region::sum, begin});
    const Value total = flat_value(name + "/total", floats, {Region::total, begin});
    const Section section = members.front().section;
    Node merge{name + "/merge", std::make_shared<MergeLaneOp>(floats, members.front().merge), {}, {rank_sum}, section};
    Node reduce{name + "/all_reduce", nullptr, {rank_sum}, {total}, section};
    if (begin < request.gradient_bytes) {
      bucket.owned = owned_bytes(begin, std::min(bucket.end, request.gradient_bytes), request.sharers, request.sharer);
      bucket.gradients = flat_value(name + "/gradients", bucket.owned.size() / static_cast<int64_t>(sizeof(float)),
                                    {Region::total, static_cast<size_t>(bucket.owned.begin)});
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

}  // namespace lockstep
