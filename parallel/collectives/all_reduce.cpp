#include "parallel/collectives/all_reduce.h"

#include <algorithm>

#include "core/error.h"
#include "parallel/reduction/ordered_reduce.h"

namespace lockstep {

namespace {

/// Sums over the mesh: along the first axis by the canonical tree or, in fast mode, as the library does it; along the
/// others in the order of their members. One range at a time.
class MeshReduce {
 public:
  explicit MeshReduce(const MeshContext& context) : mesh_(context.mesh) {
    if (context.numerics == Numerics::reproducible || mesh_.strategy().shard_optimizer)
      tree_.emplace(mesh_.sums_along(0), context.backend, context.largest);
    size_t scratch = 0;
    for (size_t axis = 1; axis < mesh_.strategy().mesh.size(); ++axis)
      scratch = std::max(scratch, ordered_scratch(mesh_.sums_along(axis).size(), DType::f32, context.largest));
    scratch_ = Arena(context.backend, scratch);
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

Kernel AllReduceOp::make(const Signature& signature, MeshContext& context) const {
  const int64_t n = signature.in[0].shape.elements();
  if (merge) return merge_over_ranks(context.mesh, context.backend, *this, n, combine_by(context.kernels, merge, n));
  return {.run = [reduce = context.shared<MeshReduce>(), n, axes = axes, scatter = scatter](
                     Stream& stream,
                     const Args& args) { reduce->run(axes, scatter, args.in[0].as(), static_cast<size_t>(n), stream); },
          .capturable = context.mesh.world().capturable()};
}

std::optional<Traffic> AllReduceOp::traffic(const Signature& signature, const Mesh& mesh, Numerics numerics) const {
  auto n = static_cast<size_t>(signature.in[0].shape.elements());
  Traffic traffic{"sum over the batch", axes};
  for (int axis : axes) {
    const Communicator& comm = mesh.sums_along(static_cast<size_t>(axis));
    const int size = comm.size(), rank = comm.rank();
    if (merge) {
      traffic.bytes += sent_whole(size, rank, n);
      traffic.times += exchanges_of_whole(size);
    } else if (axis > 0) {
      traffic.bytes += ordered_sent(size, rank, DType::f32, n);
      traffic.times += ordered_exchanges(size, DType::f32, n);
    } else if (scatter) {
      traffic.bytes += TreeAllReduce::sent_to_scatter(size, rank, n);
      traffic.times += TreeAllReduce::exchanges_of_half(size);
      n = static_cast<size_t>(TreeAllReduce::owned(size, rank, n).size());
    } else if (numerics == Numerics::reproducible) {
      traffic.bytes += TreeAllReduce::sent(size, rank, n);
      traffic.times += TreeAllReduce::exchanges(size, n);
    } else {
      traffic.bytes += 2 * n * sizeof(float) * static_cast<size_t>(size - 1) / static_cast<size_t>(size);
      traffic.times += 2 * TreeAllReduce::exchanges_of_half(size);
    }
  }
  return traffic;
}

}  // namespace lockstep
