#include "layers/losses/categorical_loss.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/step_state.h"
#include "layers/cpu/activations/softmax.h"
#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"
#include "layers/losses/loss_inputs.h"
#include "layers/optimizers/loss_scale.h"

namespace lockstep::cpu {

namespace {

/// A row of logits with its targets, smoothed as they are read.
struct Row {
  const float *x, *t;
  int64_t classes;
  float kept, uniform;  // t * kept + uniform

  double target(int64_t k) const { return double{t[k]} * double{kept} + double{uniform}; }
  double normaliser() const { return log_sum_exp(x, classes, *std::max_element(x, x + classes)); }
};

class Rows {
 public:
  Rows(const Args& args, const Shape& shape, const CategoricalOptions& options)
      : first_{args.in[0].as(), args.in[1].as(), shape[-1], 1 - options.label_smoothing,
               options.label_smoothing / static_cast<float>(shape[-1])},
        per_sample_(rows_of_sample(shape)),
        samples_(args.in[2].as<LaneState>()->valid) {}
  int64_t per_sample() const { return per_sample_; }
  int64_t samples() const { return samples_; }
  int64_t count() const { return samples_ * per_sample_; }
  Row operator[](int64_t n) const {
    Row row = first_;
    row.x += n * row.classes;
    row.t += n * row.classes;
    return row;
  }

 private:
  Row first_;
  int64_t per_sample_, samples_;
};

/// What a class' probability adds to a focal loss, t = 1, and p times the derivative of that.
struct FocalTerm {
  double value, slope, p;

  FocalTerm(double log_p, const CategoricalOptions& options) : p(std::exp(log_p)) {
    const double rest = -std::expm1(log_p), gamma = options.gamma;
    const double power = std::pow(rest, gamma);
    value = -power * log_p;
    // Where the rest is 0, so is the first term's limit.
    slope = (rest == 0 ? 0 : gamma * p * std::pow(rest, gamma - 1) * log_p) - power;
  }
};

double row_loss(const Row& row, const CategoricalOptions& options) {
  const double normaliser = row.normaliser();
  double loss = 0;
  for (int64_t k = 0; k < row.classes; ++k) {
    const double t = row.target(k), log_p = double{row.x[k]} - normaliser;
    if (t == 0) continue;  // also where log p is -inf
    loss += options.focal ? t * double{options.alpha} * FocalTerm(log_p, options).value : t * -log_p;
  }
  return loss;
}

void row_gradient(const Row& row, float scale, float* dx) {
  double total = 0;
  for (int64_t k = 0; k < row.classes; ++k) total += row.target(k);
  softmax_row(row.x, dx, row.classes);
  for_each_vec(row.classes, [&, sum = static_cast<float>(total)]<class V>(V, int64_t k) {
    const V t = load<V>(row.t + k) * broadcast<V>(row.kept) + broadcast<V>(row.uniform);
    store(dx + k, (load<V>(dx + k) * broadcast<V>(sum) - t) * broadcast<V>(scale));
  });
}

void focal_row_gradient(const Row& row, const CategoricalOptions& options, float scale, float* dx) {
  const double normaliser = row.normaliser();
  double sum = 0;
  const auto term = [&](int64_t k) { return FocalTerm(double{row.x[k]} - normaliser, options); };
  for (int64_t k = 0; k < row.classes; ++k) sum += row.target(k) * term(k).slope;
  for (int64_t k = 0; k < row.classes; ++k) {
    const FocalTerm one = term(k);
    dx[k] = static_cast<float>(double{options.alpha} * (row.target(k) * one.slope - one.p * sum)) * scale;
  }
}

}  // namespace

Kernel make(const CategoricalLossOp& op, const Signature& signature) {
  const Shape shape = signature.in[0].shape;
  return {.workspace = static_cast<size_t>(shape[0]) * sizeof(double),
          .run = [shape, options = op.options](Stream&, const Args& args) {
            const Rows rows(args, shape, options);
            auto* sums = reinterpret_cast<double*>(args.workspace);
            const int64_t each = rows.per_sample();
            parallel_for(rows.samples(), each * shape[-1] * 32, [&](int64_t begin, int64_t end) {
              for (int64_t n = begin; n < end; ++n) {
                sums[n] = 0;
                for (int64_t r = n * each; r < (n + 1) * each; ++r) sums[n] += row_loss(rows[r], options);
              }
            });
            const double sum = std::accumulate(sums, sums + rows.samples(), 0.0);
            *args.out[0].as() = static_cast<float>(sum / static_cast<double>(each));
          }};
}

Kernel make(const CategoricalLossGradOp& op, const Signature& signature) {
  return {.run = [shape = signature.in[0].shape, options = op.options, scaled = op.scaled](Stream&, const Args& args) {
    const Rows rows(args, shape, options);
    const int64_t classes = shape[-1];
    const float scale = (scaled ? args.in[3].as<LossScale>()->scale : 1) / static_cast<float>(rows.per_sample());
    float* dx = args.out[0].as();
    parallel_for(rows.count(), classes * 32, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        options.focal ? focal_row_gradient(rows[r], options, scale, dx + r * classes)
                      : row_gradient(rows[r], scale, dx + r * classes);
    });
    std::fill(dx + rows.count() * classes, dx + shape.elements(), 0.0F);
  }};
}

}  // namespace lockstep::cpu
