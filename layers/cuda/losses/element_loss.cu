#include "layers/losses/element_loss.h"

#include "core/step_state.h"
#include "layers/cuda/context.h"
#include "layers/cuda/device.cuh"
#include "layers/cuda/total.cuh"
#include "layers/losses/loss_inputs.h"

namespace lockstep::cuda {

namespace {

using Kind = ElementLoss::Kind;

struct Numbers {
  const float *x, *t;
  const LaneState* lane;
  int64_t count;
  int64_t per_sample;

  __device__ int64_t valid() const { return lane->valid * per_sample; }
};

/// A loss and its slope, of one number.
struct Point {
  double value, slope;
};

__device__ Point focal_of(const ElementLoss& loss, double x, double t) {
  const double p = 1 / (1 + exp(-x)), rest = 1 / (1 + exp(x));
  const double wrong = t * rest + (1 - t) * p;
  const double plain = (x < 0 ? 0 : x) - x * t + log1p(exp(-fabs(x)));
  const double gamma = loss.gamma, power = pow(wrong, gamma);
  const double weight = loss.balanced ? t * double{loss.alpha} + (1 - t) * (1 - double{loss.alpha}) : 1;
  // Where nothing is wrong, so is the second term's limit.
  const double turn = wrong == 0 ? 0 : plain * gamma * pow(wrong, gamma - 1) * (1 - 2 * t) * p * rest;
  return {weight * power * plain, weight * (power * (p - t) + turn)};
}

__device__ Point point_of(const ElementLoss& loss, double x, double t) {
  const double d = x - t, size = fabs(d), delta = loss.delta, smoothing = loss.label_smoothing;
  const double target = t * (1 - smoothing) + smoothing / 2;
  switch (loss.kind) {
    case Kind::squared:
      return {d * d, 2 * d};
    case Kind::absolute:
      // NaN is neither above nor below, and stays itself.
      return {size, d > 0 ? 1 : d < 0 ? -1 : d};
    case Kind::huber:
      return {size <= delta ? d * d / 2 : delta * (size - delta / 2), d > delta ? delta : d < -delta ? -delta : d};
    case Kind::binary:
      return {(x < 0 ? 0 : x) - x * target + log1p(exp(-fabs(x))), 1 / (1 + exp(-x)) - target};
    case Kind::focal:
      return focal_of(loss, x, target);
  }
  return {0, 0};
}

__global__ void terms_kernel(Numbers numbers, ElementLoss loss, double* terms) {
  __shared__ double scratch[32];
  const int64_t step = int64_t{gridDim.x} * blockDim.x, valid = numbers.valid();
  double sum = 0;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < valid; i += step)
    sum += point_of(loss, numbers.x[i], numbers.t[i]).value;
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) terms[blockIdx.x] = sum;
}

/// `loss_scale` is null where the gradient is not scaled.
__global__ void slopes_kernel(Numbers numbers, ElementLoss loss, const float* loss_scale, float* dx) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= numbers.count) return;
  const float scale = (loss_scale ? *loss_scale : 1.0F) / static_cast<float>(numbers.per_sample);
  dx[i] = i < numbers.valid() ? static_cast<float>(point_of(loss, numbers.x[i], numbers.t[i]).slope) * scale : 0.0F;
}

Numbers numbers_of(const Args& args, const Shape& shape) {
  return {args.in[0].as(), args.in[1].as(), args.in[2].as<LaneState>(), shape.elements(), numbers_of_sample(shape)};
}

}  // namespace

Kernel make(const ElementLossOp& op, const Signature& signature, const SharedContext&) {
  const Shape shape = signature.in[0].shape;
  const unsigned blocks = total_blocks(shape.elements());
  return {.workspace = blocks * sizeof(double),
          .run = [shape, blocks, loss = op.loss](Stream& stream, const Args& args) {
            const Numbers numbers = numbers_of(args, shape);
            auto* terms = reinterpret_cast<double*>(args.workspace);
            launch(stream, {blocks}, terms_kernel, numbers, loss, terms);
            launch(stream, {1}, total_kernel, terms, int64_t{blocks}, numbers.per_sample, args.out[0].as());
          }};
}

Kernel make(const ElementLossGradOp& op, const Signature& signature, const SharedContext&) {
  return {.run = [shape = signature.in[0].shape, loss = op.loss, scaled = op.scaled](Stream& stream, const Args& args) {
    const Numbers numbers = numbers_of(args, shape);
    if (numbers.count == 0) return;
    launch(stream, {blocks_for(numbers.count)}, slopes_kernel, numbers, loss, scaled ? args.in[3].as() : nullptr,
           args.out[0].as());
  }};
}

}  // namespace lockstep::cuda
