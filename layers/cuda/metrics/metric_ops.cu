// First a code a row: what it counts as, or -1 where it counts for nothing. Then a block a code counts it, in whole
// numbers, whose sums have no order.
#include "layers/metrics/metric_ops.h"

#include "core/step_state.h"
#include "layers/cuda/context.h"
#include "layers/cuda/rows.cuh"
#include "layers/losses/loss_inputs.h"

namespace lockstep::cuda {

namespace {

struct Rows {
  const float* x;
  const int32_t* labels;  // or null
  const float* targets;   // where there are no labels
  const LaneState* lane;
  int64_t count;
  int64_t per_sample;
  int64_t classes;

  __device__ int64_t valid() const { return lane->valid * per_sample; }
};

struct Least {
  __device__ int operator()(int a, int b) const { return a < b ? a : b; }
};

/// The first maximum of a row without NaN, for each of its threads.
template <int Threads>
__device__ int place_of_top(const float* x, int64_t classes, RowScratch& scratch) {
  const float top = row_top<Threads>(x, classes, scratch);
  int place = INT32_MAX;
  for (int64_t k = RowThread<Threads>{}.first; k < classes; k += Threads)
    if (x[k] == top) place = min(place, static_cast<int>(k));
  return across_row<Threads>(place, scratch.places, Least{});
}

/// The target's class; -1 for a row with NaN, or an index outside the classes, which is the loss' to refuse.
template <int Threads>
__device__ int target_of(const Rows& rows, int64_t row, RowScratch& scratch) {
  const float* x = rows.x + row * rows.classes;
  int numbers = 1;
  for (int64_t k = RowThread<Threads>{}.first; k < rows.classes; k += Threads)
    if (isnan(x[k])) numbers = 0;
  numbers = across_row<Threads>(numbers, scratch.places, Least{});
  const int target =
      rows.labels ? rows.labels[row] : place_of_top<Threads>(rows.targets + row * rows.classes, rows.classes, scratch);
  return numbers && target >= 0 && target < rows.classes ? target : -1;
}

/// 0 where the target is among the k largest.
template <int Threads>
__global__ void top_k_kernel(Rows rows, int64_t k, int32_t* codes) {
  __shared__ RowScratch scratch;
  const RowThread<Threads> thread;
  if (thread.row >= rows.count) return;
  int32_t code = -1;
  if (thread.row < rows.valid()) {
    const int target = target_of<Threads>(rows, thread.row, scratch);
    if (target >= 0) {
      const float* x = rows.x + thread.row * rows.classes;
      int before = 0;
      for (int64_t j = thread.first; j < rows.classes; j += Threads)
        before += x[j] > x[target] || (x[j] == x[target] && j < target);
      before = across_row<Threads>(before, scratch.places, [](int a, int b) { return a + b; });
      if (before < k) code = 0;
    }
  }
  if (thread.first == 0) codes[thread.row] = code;
}

/// target * classes + prediction.
template <int Threads>
__global__ void pairs_kernel(Rows rows, int32_t* codes) {
  __shared__ RowScratch scratch;
  const RowThread<Threads> thread;
  if (thread.row >= rows.count) return;
  int32_t code = -1;
  if (thread.row < rows.valid()) {
    const int target = target_of<Threads>(rows, thread.row, scratch);
    const int predicted = place_of_top<Threads>(rows.x + thread.row * rows.classes, rows.classes, scratch);
    if (target >= 0) code = target * static_cast<int>(rows.classes) + predicted;
  }
  if (thread.first == 0) codes[thread.row] = code;
}

/// The same of numbers: 2 * target + prediction. A number is a row of one class here.
__global__ void binary_pairs_kernel(Rows rows, float threshold, int32_t* codes) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= rows.count) return;
  const bool counts = i < rows.valid() && !isnan(rows.x[i]);
  codes[i] = counts ? 2 * (rows.targets[i] > 0.5F) + (rows.x[i] > threshold) : -1;
}

/// A block a code.
__global__ void count_kernel(const int32_t* codes, int64_t count, float* counts) {
  __shared__ int64_t scratch[32];
  int64_t sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) sum += codes[i] == static_cast<int32_t>(blockIdx.x);
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) counts[blockIdx.x] = static_cast<float>(sum);
}

Rows rows_of(const Args& args, const Shape& shape, bool numbers) {
  const int64_t each = numbers ? numbers_of_sample(shape) : rows_of_sample(shape);
  const bool indices = args.in[1].type.dtype == DType::i32;
  return {args.in[0].as(),
          indices ? args.in[1].as<int32_t>() : nullptr,
          indices ? nullptr : args.in[1].as(),
          args.in[2].as<LaneState>(),
          shape[0] * each,
          each,
          numbers ? 1 : shape[-1]};
}

void count(Stream& stream, const Rows& rows, const int32_t* codes, const Tensor& counts) {
  launch(stream, {static_cast<unsigned>(counts.elements())}, count_kernel, codes, rows.count, counts.as());
}

}  // namespace

Kernel make(const TopKOp& op, const Signature& signature, const SharedContext&) {
  const Shape shape = signature.in[0].shape;
  return {.workspace = static_cast<size_t>(shape[0] * rows_of_sample(shape)) * sizeof(int32_t),
          .run = [shape, k = op.k](Stream& stream, const Args& args) {
            const Rows rows = rows_of(args, shape, false);
            auto* codes = reinterpret_cast<int32_t*>(args.workspace);
            if (rows.count > 0)
              with_row_threads(rows.classes, [&]<int Threads>(std::integral_constant<int, Threads>) {
                launch(stream, row_grid<Threads>(rows.count), top_k_kernel<Threads>, rows, k, codes);
              });
            count(stream, rows, codes, args.out[0]);
          }};
}

Kernel make(const ConfusionOp& op, const Signature& signature, const SharedContext&) {
  const Shape shape = signature.in[0].shape;
  const int64_t count_of_codes = shape[0] * (op.binary ? numbers_of_sample(shape) : rows_of_sample(shape));
  return {.workspace = static_cast<size_t>(count_of_codes) * sizeof(int32_t),
          .run = [shape, binary = op.binary, threshold = op.threshold](Stream& stream, const Args& args) {
            const Rows rows = rows_of(args, shape, binary);
            auto* codes = reinterpret_cast<int32_t*>(args.workspace);
            if (rows.count > 0 && binary)
              launch(stream, {blocks_for(rows.count)}, binary_pairs_kernel, rows, threshold, codes);
            else if (rows.count > 0)
              with_row_threads(rows.classes, [&]<int Threads>(std::integral_constant<int, Threads>) {
                launch(stream, row_grid<Threads>(rows.count), pairs_kernel<Threads>, rows, codes);
              });
            count(stream, rows, codes, args.out[0]);
          }};
}

}  // namespace lockstep::cuda
