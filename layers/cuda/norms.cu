#include "layers/optimizers/norms.h"

#include "layers/cuda/context.h"
#include "layers/cuda/device.cuh"

namespace lockstep::cuda {

namespace {

/// Blocks that share a variable, of every size: so a variable's sums have a known place.
constexpr unsigned blocks_a_variable = 64;

/// partial[block] = the sum of the squares of every so-many-th element.
__global__ void squares_kernel(const float* x, int64_t n, double* partial) {
  __shared__ double scratch[32];
  double sum = 0;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += int64_t{gridDim.x} * blockDim.x)
    sum += double{x[i]} * double{x[i]};
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

/// A block a variable, a thread a partial sum.
__global__ void norms_kernel(const double* partial, float* norms) {
  __shared__ double scratch[32];
  const double sum = block_sum(partial[int64_t{blockIdx.x} * blocks_a_variable + threadIdx.x], scratch);
  if (threadIdx.x == 0) norms[blockIdx.x] = static_cast<float>(sqrt(sum));
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

}  // namespace

Kernel make(const NormsOp& op, const Signature&, const SharedContext&) {
  return {.workspace = op.variables.size() * blocks_a_variable * sizeof(double),
          .run = [variables = op.variables](Stream& stream, const Args& args) {
            if (variables.empty()) return;
            auto* partial = reinterpret_cast<double*>(args.workspace);
            for (size_t v = 0; v < variables.size(); ++v) {
              const int64_t n = variables[v].end - variables[v].begin;
              const float* x = n > 0 ? args.in[variables[v].input].as() + variables[v].begin : nullptr;
              launch(stream, {blocks_a_variable}, squares_kernel, x, n, partial + v * blocks_a_variable);
            }
            launch(stream, {static_cast<unsigned>(variables.size()), blocks_a_variable}, norms_kernel, partial,
                   args.out[0].as());
          }};
}

Kernel make(const TotalNormOp&, const Signature& signature, const SharedContext&) {
  return {.run = [n = signature.in[0].shape.elements()](Stream& stream, const Args& args) {
    launch(stream, {1}, total_norm_kernel, args.in[0].as(), args.out[0].as(), n);
  }};
}

}  // namespace lockstep::cuda
