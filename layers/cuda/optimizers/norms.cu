#include "layers/optimizers/norms.h"

#include "layers/cuda/context.h"
#include "layers/cuda/device.cuh"

namespace lockstep::cuda {

namespace {

/// Threads that share a line, and lines of a block.
constexpr int line_threads = 4;
constexpr int64_t block_lines = block_threads / line_threads;

/// The sum of a balanced binary tree whose leaves are the values of `First` threads each, in the threads' order; for
/// all threads of the block. `scratch` is shared memory, a value a warp.
template <int First>
__device__ double block_tree(double value, double* scratch) {
  for (int offset = First; offset < 32; offset *= 2) value += __shfl_xor_sync(0xFFFFFFFFU, value, offset);
  constexpr int warps = block_threads / 32;
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  value = scratch[threadIdx.x % warps];
  for (int offset = 1; offset < warps; offset *= 2) value += __shfl_xor_sync(0xFFFFFFFFU, value, offset);
  return value;
}

/// Where a block's sum goes: among those of the others, or, of the only block, to the subtree's.
struct Result {
  double* sums;
  SquareSum* last;
  int32_t variable, level;

  __device__ void put(double sum) const {
    if (gridDim.x == 1)
      *last = {sum, variable, level};
    else
      sums[blockIdx.x] = sum;
  }
};

__global__ void squares_kernel(const float* x, int64_t n, Result result) {
  __shared__ double scratch[block_threads / 32];
  const int64_t first =
      (blockIdx.x * block_lines + threadIdx.x / line_threads) * squares_line + threadIdx.x % line_threads;
  const auto square = [&](int64_t i) { return i < n ? double{x[i]} * double{x[i]} : 0; };
  double sum = (square(first) + square(first + 8)) + (square(first + 4) + square(first + 12));
  for (int offset = line_threads / 2; offset > 0; offset /= 2) sum += __shfl_xor_sync(0xFFFFFFFFU, sum, offset);
  sum = block_tree<line_threads>(sum, scratch);
  if (threadIdx.x == 0) result.put(sum);
}

/// A thread a leaf.
__global__ void tree_kernel(const double* leaves, int64_t n, Result result) {
  __shared__ double scratch[block_threads / 32];
  const int64_t i = int64_t{blockIdx.x} * block_threads + threadIdx.x;
  const double sum = block_tree<1>(i < n ? leaves[i] : 0, scratch);
  if (threadIdx.x == 0) result.put(sum);
}

__global__ void no_sums_kernel(SquareSum* sums, int64_t n) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) sums[i] = SquareSum{};
}

/// A thread a variable.
__global__ void norms_kernel(const SquareSum* sums, int64_t blocks, int64_t room, int32_t variables, float* norms,
                             SquareSum* out) {
  const auto v = static_cast<int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
  if (v >= variables) return;
  SquareTree tree;
  for (int64_t block = 0; block < blocks; ++block, sums += room)
    for (int64_t i = first_of(sums, room, v); i < room && sums[i].variable == v; ++i)
      tree.add(sums[i].sum, sums[i].level);
  norms[v] = static_cast<float>(sqrt(tree.total()));
  if (out) out[v] = {tree.total(), v, 0};
}

/// One block.
__global__ void total_norm_kernel(const float* norms, float* total, int64_t n) {
  __shared__ double scratch[32];
  __shared__ float norm;
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += double{norms[i]} * double{norms[i]};
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) norm = static_cast<float>(sqrt(sum));
  __syncthreads();
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) total[i] = norm;
}

/// Of a subtree's elements.
unsigned blocks_of(int64_t n) { return blocks_for(n, block_lines * squares_line); }

}  // namespace

Kernel make(const NormsOp& op, const Signature& signature, const SharedContext&) {
  const auto join = [variables = static_cast<int32_t>(op.variables)](Stream& stream, const SquareSum* sums,
                                                                     int64_t blocks, int64_t room, const Args& args,
                                                                     SquareSum* out) {
    if (variables > 0)
      launch(stream, {blocks_for(variables)}, norms_kernel, sums, blocks, room, variables, args.out[0].as(), out);
  };
  if (op.blocks > 0)
    return {.run = [join, blocks = op.blocks, room = signature.in[0].shape[0] / op.blocks](Stream& stream,
                                                                                           const Args& args) {
      join(stream, args.in[0].as<const SquareSum>(), blocks, room, args, args.out[1].as<SquareSum>());
    }};
  size_t most = 0;
  for (const Subtree& one : op.subtrees) most = std::max(most, size_t{blocks_of(one.end - one.begin)});
  // Blocks' sums, and beside them those of as many of these as a block has threads.
  return {.workspace = 2 * most * sizeof(double),
          .run = [join, most, subtrees = op.subtrees, room = op.room](Stream& stream, const Args& args) {
            auto *from = reinterpret_cast<double*>(args.workspace), *to = from + most;
            auto* const out = args.out[1].as<SquareSum>();
            auto* next = out;
            for (const Subtree& one : subtrees) {
              const int64_t n = one.end - one.begin;
              const auto result = [&](double* sums) { return Result{sums, next, one.variable, one.level}; };
              unsigned blocks = blocks_of(n);
              launch(stream, {blocks}, squares_kernel, args.in[one.input].as() + one.begin, n, result(from));
              while (blocks > 1) {
                const int64_t leaves = blocks;
                blocks = blocks_for(leaves);
                launch(stream, {blocks}, tree_kernel, from, leaves, result(to));
                std::swap(from, to);
              }
              ++next;
            }
            if (const int64_t rest = room - static_cast<int64_t>(subtrees.size()); rest > 0)
              launch(stream, {blocks_for(rest)}, no_sums_kernel, next, rest);
            join(stream, out, 1, room, args, nullptr);
          }};
}

Kernel make(const TotalNormOp&, const Signature& signature, const SharedContext&) {
  return {.run = [n = signature.in[0].shape.elements()](Stream& stream, const Args& args) {
    launch(stream, {1}, total_norm_kernel, args.in[0].as(), args.out[0].as(), n);
  }};
}

}  // namespace lockstep::cuda
