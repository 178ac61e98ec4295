#include "layers/losses/cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/step_state.h"
#include "layers/cpu/activations/softmax.h"
#include "layers/cpu/kernels.h"
#include "layers/losses/loss_inputs.h"
#include "layers/optimizers/loss_scale.h"

namespace lockstep::cpu {

namespace {

/// The inputs that forward and gradient share.
struct Samples {
  const float* rows;
  const int32_t* labels;
  int64_t per_sample;  // rows
  int64_t valid;       // rows
  int64_t classes;

  Samples(const Args& args, const Shape& shape)
      : rows(args.in[0].as()),
        labels(args.in[1].as<int32_t>()),
        per_sample(rows_of_sample(shape)),
        valid(args.in[2].as<LaneState>()->valid * per_sample),
        classes(shape[-1]) {}
  const float* row(int64_t n) const { return rows + n * classes; }
  int64_t label(int64_t n) const {
    if (labels[n] < 0 || labels[n] >= classes)
      throw Error("the label of sample {} of the lane is {}, expected 0 to {}", n / per_sample, labels[n], classes - 1);
    return labels[n];
  }
};

}  // namespace

Kernel make(const CrossEntropyOp&, const Signature& signature) {
  return {.run = [shape = signature.in[0].shape](Stream&, const Args& args) {
    const Samples samples(args, shape);
    const int64_t classes = samples.classes;
    double loss = 0;
    int64_t correct = 0;
    for (int64_t n = 0; n < samples.valid; ++n) {
      const float* row = samples.row(n);
      const int64_t label = samples.label(n);
      const float* top = std::max_element(row, row + classes);
      // A row that begins with NaN has its maximum there, but predicts nothing.
      correct += top - row == label && !std::isnan(*top);
      loss += log_sum_exp(row, classes, *top) - double{row[label]};
    }
    *args.out[0].as() = static_cast<float>(loss / static_cast<double>(samples.per_sample));
    *args.out[1].as() = static_cast<float>(correct);
  }};
}

Kernel make(const CrossEntropyGradOp& op, const Signature& signature) {
  return {.run = [shape = signature.in[0].shape, scaled = op.scaled](Stream&, const Args& args) {
    const Samples samples(args, shape);
    const int64_t classes = samples.classes;
    const float scale = (scaled ? args.in[3].as<LossScale>()->scale : 1) / static_cast<float>(samples.per_sample);
    float* dx = args.out[0].as();
    for (int64_t n = 0; n < samples.valid; ++n, dx += classes) {
      softmax_row(samples.row(n), dx, classes);
      dx[samples.label(n)] -= 1;
      for_each_vec(classes, [=]<class V>(V, int64_t k) { store(dx + k, load<V>(dx + k) * broadcast<V>(scale)); });
    }
    std::fill(dx, args.out[0].as() + shape.elements(), 0.0F);
  }};
}

}  // namespace lockstep::cpu
