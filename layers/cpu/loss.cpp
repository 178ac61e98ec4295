#include "layers/loss.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/step_state.h"
#include "layers/cpu/kernels.h"
#include "layers/cpu/math.h"

namespace lockstep::cpu {

namespace {

constexpr float smallest = 1e-7F;
constexpr float largest = 1 - 1e-7F;

/// The inputs that forward and gradient share.
struct Samples {
  const float* rows;
  const int32_t* labels;
  int64_t valid;
  int64_t classes;

  Samples(const Args& args, int64_t class_count)
      : rows(args.in[0].as()),
        labels(args.in[1].as<int32_t>()),
        valid(args.in[2].as<LaneState>()->valid),
        classes(class_count) {}
  const float* row(int64_t n) const { return rows + n * classes; }
  int64_t label(int64_t n) const {
    if (labels[n] < 0 || labels[n] >= classes)
      throw Error("the label of sample {} of the lane is {}, expected 0 to {}", n, labels[n], classes - 1);
    return labels[n];
  }
};

double log_sum_exp(const float* row, int64_t classes, float top) {
  double sum = 0;
  for_each_vec(classes, [&]<class V>(V, int64_t k) {
    float terms[width<V>];
    store(terms, exponential(load<V>(row + k) - broadcast<V>(top)));
    for (float term : terms) sum += double{term};
  });
  return std::log(sum) + double{top};
}

/// Two comparisons, so that a NaN comes through.
float clipped(float p) { return p < smallest ? smallest : p > largest ? largest : p; }

/// dx = softmax(row)
void softmax_row(const float* row, int64_t classes, float* dx) {
  const float top = *std::max_element(row, row + classes);
  for_each_vec(classes,
               [=]<class V>(V, int64_t k) { store(dx + k, exponential(load<V>(row + k) - broadcast<V>(top))); });
  double sum = 0;
  for (int64_t k = 0; k < classes; ++k) sum += double{dx[k]};
  const auto scale = static_cast<float>(1 / sum);
  for (int64_t k = 0; k < classes; ++k) dx[k] *= scale;
}

}  // namespace

Kernel make(const CrossEntropyOp& op, const Signature& signature) {
  return {.run = [classes = signature.in[0].shape[1], logits = op.from_logits](Stream&, const Args& args) {
    const Samples samples(args, classes);
    double loss = 0;
    int64_t correct = 0;
    for (int64_t n = 0; n < samples.valid; ++n) {
      const float* row = samples.row(n);
      const int64_t label = samples.label(n);
      const float* top = std::max_element(row, row + classes);
      // A row that begins with NaN has its maximum there, but predicts nothing.
      correct += top - row == label && !std::isnan(*top);
      loss += logits ? log_sum_exp(row, classes, *top) - double{row[label]} : -std::log(double{clipped(row[label])});
    }
    *args.out[0].as() = static_cast<float>(loss);
    *args.out[1].as() = static_cast<float>(correct);
  }};
}

Kernel make(const CrossEntropyGradOp& op, const Signature& signature) {
  const int64_t lane = signature.in[0].shape[0], classes = signature.in[0].shape[1];
  return {.run = [=, logits = op.from_logits](Stream&, const Args& args) {
    const Samples samples(args, classes);
    float* dx = args.out[0].as();
    for (int64_t n = 0; n < samples.valid; ++n, dx += classes) {
      const int64_t label = samples.label(n);
      if (logits) {
        softmax_row(samples.row(n), classes, dx);
        dx[label] -= 1;
        continue;
      }
      std::fill(dx, dx + classes, 0.0F);
      const float p = samples.row(n)[label];
      dx[label] = p < smallest || p > largest ? 0.0F : -1 / p;
    }
    std::fill(dx, args.out[0].as() + lane * classes, 0.0F);
  }};
}

}  // namespace lockstep::cpu
