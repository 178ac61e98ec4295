// A kernel cannot throw: a label outside the classes, which the CPU refuses, makes the sample's loss and its gradient
// NaN here, so that the step's loss is NaN and the run stops.
#include "layers/losses/cross_entropy.h"

#include <limits>

#include "core/step_state.h"
#include "layers/cuda/context.h"
#include "layers/cuda/rows.cuh"
#include "layers/losses/loss_inputs.h"

namespace lockstep::cuda {

namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();

struct Samples {
  const float* logits;
  const int32_t* labels;
  const LaneState* lane;
  int64_t count;       // rows
  int64_t per_sample;  // rows
  int64_t classes;

  __device__ int64_t valid() const { return lane->valid * per_sample; }
};

struct Outcome {
  double loss, correct;
};

/// What one sample adds to the sums, for every thread of its row.
template <int Threads>
__device__ Outcome outcome_of(const float* x, int label, int64_t classes, RowScratch& scratch) {
  if (label < 0 || label >= classes) return {double{nan}, 0};
  const float top = row_top<Threads>(x, classes, scratch);
  double sum = 0;
  int place = INT32_MAX;  // of the first maximum
  for (int64_t k = RowThread<Threads>{}.first; k < classes; k += Threads) {
    sum += double{expf(x[k] - top)};
    if (x[k] == top) place = min(place, static_cast<int>(k));
  }
  sum = row_sum<Threads>(sum, scratch);
  place = across_row<Threads>(place, scratch.places, [](int a, int b) { return min(a, b); });
  // A row that begins with NaN has its maximum there, but predicts nothing.
  const bool correct = place == label && !isnan(x[0]);
  return {log(sum) + double{top} - double{x[label]}, correct ? 1.0 : 0.0};
}

template <int Threads>
__global__ void outcomes_kernel(Samples samples, Outcome* outcomes) {
  __shared__ RowScratch scratch;
  const RowThread<Threads> thread;
  if (thread.row >= samples.count) return;
  Outcome outcome{0, 0};
  if (thread.row < samples.valid())
    outcome = outcome_of<Threads>(samples.logits + thread.row * samples.classes, samples.labels[thread.row],
                                  samples.classes, scratch);
  if (thread.first == 0) outcomes[thread.row] = outcome;
}

/// One block.
__global__ void sum_outcomes_kernel(const Outcome* outcomes, int64_t count, int64_t per_sample, float* loss,
                                    float* correct) {
  __shared__ double scratch[32];
  Outcome sum{0, 0};
  for (int64_t n = threadIdx.x; n < count; n += blockDim.x) {
    sum.loss += outcomes[n].loss;
    sum.correct += outcomes[n].correct;
  }
  sum.loss = block_sum(sum.loss, scratch);
  sum.correct = block_sum(sum.correct, scratch);
  if (threadIdx.x == 0) {
    *loss = static_cast<float>(sum.loss / static_cast<double>(per_sample));
    *correct = static_cast<float>(sum.correct);
  }
}

/// `loss_scale` is null where the gradient is not scaled.
template <int Threads>
__global__ void gradient_kernel(Samples samples, const float* loss_scale, float* dx) {
  __shared__ RowScratch scratch;
  const RowThread<Threads> thread;
  if (thread.row >= samples.count) return;
  const int64_t classes = samples.classes;
  dx += thread.row * classes;
  const bool real = thread.row < samples.valid();
  const int label = real ? samples.labels[thread.row] : 0;
  if (!real || label < 0 || label >= classes) {
    for (int64_t k = thread.first; k < classes; k += Threads) dx[k] = real ? nan : 0.0F;
    return;
  }
  const float scale = row_exponentials<Threads>(samples.logits + thread.row * classes, dx, classes, scratch);
  const float outer = (loss_scale ? *loss_scale : 1.0F) / static_cast<float>(samples.per_sample);
  for (int64_t k = thread.first; k < classes; k += Threads) {
    const float probability = dx[k] * scale;
    dx[k] = (k == label ? probability - 1 : probability) * outer;
  }
}

Samples samples_of(const Args& args, const Shape& logits) {
  return {args.in[0].as(),
          args.in[1].as<int32_t>(),
          args.in[2].as<LaneState>(),
          logits[0] * rows_of_sample(logits),
          rows_of_sample(logits),
          logits[-1]};
}

}  // namespace

Kernel make(const CrossEntropyOp&, const Signature& signature, const SharedContext&) {
  const Shape logits = signature.in[0].shape;
  return {.workspace = static_cast<size_t>(logits[0] * rows_of_sample(logits)) * sizeof(Outcome),
          .run = [logits](Stream& stream, const Args& args) {
            const Samples samples = samples_of(args, logits);
            auto* outcomes = reinterpret_cast<Outcome*>(args.workspace);
            if (samples.count > 0)
              with_row_threads(samples.classes, [&]<int Threads>(std::integral_constant<int, Threads>) {
                launch(stream, row_grid<Threads>(samples.count), outcomes_kernel<Threads>, samples, outcomes);
              });
            // An empty batch has sums too: 0.
            launch(stream, {1}, sum_outcomes_kernel, outcomes, samples.count, samples.per_sample, args.out[0].as(),
                   args.out[1].as());
          }};
}

Kernel make(const CrossEntropyGradOp& op, const Signature& signature, const SharedContext&) {
  return {.run = [logits = signature.in[0].shape, scaled = op.scaled](Stream& stream, const Args& args) {
    const Samples samples = samples_of(args, logits);
    if (samples.count == 0 || samples.classes == 0) return;
    const float* loss_scale = scaled ? args.in[3].as() : nullptr;
    with_row_threads(samples.classes, [&]<int Threads>(std::integral_constant<int, Threads>) {
      launch(stream, row_grid<Threads>(samples.count), gradient_kernel<Threads>, samples, loss_scale, args.out[0].as());
    });
  }};
}

}  // namespace lockstep::cuda
