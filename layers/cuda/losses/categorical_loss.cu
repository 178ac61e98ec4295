#include "layers/losses/categorical_loss.h"

#include "core/step_state.h"
#include "layers/cuda/context.h"
#include "layers/cuda/rows.cuh"
#include "layers/cuda/total.cuh"
#include "layers/losses/loss_inputs.h"

namespace lockstep::cuda {

namespace {

struct Rows {
  const float *x, *t;
  const LaneState* lane;
  int64_t count;
  int64_t per_sample;
  int64_t classes;
  CategoricalOptions options;

  __device__ int64_t valid() const { return lane->valid * per_sample; }
  /// Smoothed; `t` is the row's.
  __device__ double target(const float* row, int64_t k) const {
    const float uniform = options.label_smoothing / static_cast<float>(classes);
    return double{row[k]} * double{1 - options.label_smoothing} + double{uniform};
  }
};

/// What a class' probability adds to a focal loss, t = 1, and p times the derivative of that.
struct FocalTerm {
  double value, slope, p;
};

__device__ FocalTerm focal_of(double log_p, const CategoricalOptions& options) {
  const double p = exp(log_p), rest = -expm1(log_p), gamma = options.gamma, power = pow(rest, gamma);
  // Where the rest is 0, so is the first term's limit.
  const double first = rest == 0 ? 0 : gamma * p * pow(rest, gamma - 1) * log_p;
  return {-power * log_p, first - power, p};
}

/// log(sum(exp(x))) of a row, for every thread of it; NaN where x holds one.
template <int Threads>
__device__ double normaliser(const float* x, int64_t classes, RowScratch& scratch) {
  const float top = row_top<Threads>(x, classes, scratch);
  double sum = 0;
  for (int64_t k = RowThread<Threads>{}.first; k < classes; k += Threads) sum += double{expf(x[k] - top)};
  return log(row_sum<Threads>(sum, scratch)) + double{top};
}

template <int Threads>
__global__ void row_losses_kernel(Rows rows, double* losses) {
  __shared__ RowScratch scratch;
  const RowThread<Threads> thread;
  if (thread.row >= rows.count) return;
  double loss = 0;
  if (thread.row < rows.valid()) {
    const float *x = rows.x + thread.row * rows.classes, *t = rows.t + thread.row * rows.classes;
    const double below = normaliser<Threads>(x, rows.classes, scratch);
    for (int64_t k = thread.first; k < rows.classes; k += Threads) {
      const double target = rows.target(t, k), log_p = double{x[k]} - below;
      if (target == 0) continue;  // also where log p is -inf
      loss += rows.options.focal ? target * double{rows.options.alpha} * focal_of(log_p, rows.options).value
                                 : target * -log_p;
    }
    loss = row_sum<Threads>(loss, scratch);
  }
  if (thread.first == 0) losses[thread.row] = loss;
}

/// `loss_scale` is null where the gradient is not scaled.
template <int Threads>
__global__ void row_gradients_kernel(Rows rows, const float* loss_scale, float* dx) {
  __shared__ RowScratch scratch;
  const RowThread<Threads> thread;
  if (thread.row >= rows.count) return;
  const int64_t classes = rows.classes;
  dx += thread.row * classes;
  if (thread.row >= rows.valid()) {
    for (int64_t k = thread.first; k < classes; k += Threads) dx[k] = 0;
    return;
  }
  const float *x = rows.x + thread.row * classes, *t = rows.t + thread.row * classes;
  const float scale = (loss_scale ? *loss_scale : 1.0F) / static_cast<float>(rows.per_sample);
  const double below = normaliser<Threads>(x, classes, scratch);
  const bool focal = rows.options.focal;
  // Of focal, the terms' slopes; else each term's slope is -1.
  double sum = 0;
  for (int64_t k = thread.first; k < classes; k += Threads)
    sum += rows.target(t, k) * (focal ? focal_of(double{x[k]} - below, rows.options).slope : -1.0);
  sum = row_sum<Threads>(sum, scratch);
  for (int64_t k = thread.first; k < classes; k += Threads) {
    const double log_p = double{x[k]} - below, target = rows.target(t, k);
    double slope = 0;
    if (focal) {
      const FocalTerm term = focal_of(log_p, rows.options);
      slope = double{rows.options.alpha} * (target * term.slope - term.p * sum);
    } else {
      slope = -target - exp(log_p) * sum;
    }
    dx[k] = static_cast<float>(slope) * scale;
  }
}

Rows rows_of(const Args& args, const Shape& shape, const CategoricalOptions& options) {
  const int64_t each = rows_of_sample(shape);
  return {args.in[0].as(), args.in[1].as(), args.in[2].as<LaneState>(), shape[0] * each, each, shape[-1], options};
}

}  // namespace

Kernel make(const CategoricalLossOp& op, const Signature& signature, const SharedContext&) {
  const Shape shape = signature.in[0].shape;
  return {.workspace = static_cast<size_t>(shape[0] * rows_of_sample(shape)) * sizeof(double),
          .run = [shape, options = op.options](Stream& stream, const Args& args) {
            const Rows rows = rows_of(args, shape, options);
            auto* losses = reinterpret_cast<double*>(args.workspace);
            if (rows.count > 0)
              with_row_threads(rows.classes, [&]<int Threads>(std::integral_constant<int, Threads>) {
                launch(stream, row_grid<Threads>(rows.count), row_losses_kernel<Threads>, rows, losses);
              });
            // An empty batch has a sum too: 0.
            launch(stream, {1}, total_kernel, losses, rows.count, rows.per_sample, args.out[0].as());
          }};
}

Kernel make(const CategoricalLossGradOp& op, const Signature& signature, const SharedContext&) {
  return {.run = [shape = signature.in[0].shape, options = op.options, scaled = op.scaled](Stream& stream,
                                                                                           const Args& args) {
    const Rows rows = rows_of(args, shape, options);
    if (rows.count == 0 || rows.classes == 0) return;
    const float* loss_scale = scaled ? args.in[3].as() : nullptr;
    with_row_threads(rows.classes, [&]<int Threads>(std::integral_constant<int, Threads>) {
      launch(stream, row_grid<Threads>(rows.count), row_gradients_kernel<Threads>, rows, loss_scale, args.out[0].as());
    });
  }};
}

}  // namespace lockstep::cuda
