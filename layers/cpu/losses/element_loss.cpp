#include "layers/losses/element_loss.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/step_state.h"
#include "layers/cpu/kernels.h"
#include "layers/cpu/math.h"
#include "layers/cpu/parallel.h"
#include "layers/losses/loss_inputs.h"
#include "layers/optimizers/loss_scale.h"

namespace lockstep::cpu {

namespace {

using Kind = ElementLoss::Kind;

/// A focal loss and its slope, of one number.
struct Focal {
  double value, slope;

  Focal(const ElementLoss& loss, double x, double t) {
    const double p = 1 / (1 + std::exp(-x)), rest = 1 / (1 + std::exp(x));
    const double wrong = t * rest + (1 - t) * p;
    const double plain = std::max(x, 0.0) - x * t + std::log1p(std::exp(-std::abs(x)));
    const double gamma = loss.gamma, power = std::pow(wrong, gamma);
    const double weight = loss.balanced ? t * double{loss.alpha} + (1 - t) * (1 - double{loss.alpha}) : 1;
    value = weight * power * plain;
    // Where nothing is wrong, so is the second term's limit.
    const double turn = wrong == 0 ? 0 : plain * gamma * std::pow(wrong, gamma - 1) * (1 - 2 * t) * p * rest;
    slope = weight * (power * (p - t) + turn);
  }
};

double smoothed(const ElementLoss& loss, float t) {
  return double{t} * (1 - double{loss.label_smoothing}) + double{loss.label_smoothing} / 2;
}

double value_of(const ElementLoss& loss, float x, float t) {
  const double d = double{x} - double{t}, size = std::abs(d);
  switch (loss.kind) {
    case Kind::squared:
      return d * d;
    case Kind::absolute:
      return size;
    case Kind::huber:
      return size <= double{loss.delta} ? d * d / 2 : double{loss.delta} * (size - double{loss.delta} / 2);
    case Kind::binary:
      return std::max(double{x}, 0.0) - double{x} * smoothed(loss, t) + std::log1p(std::exp(-std::abs(double{x})));
    case Kind::focal:
      return Focal(loss, x, smoothed(loss, t)).value;
  }
  return 0;
}

template <class V>
V sigmoid(V x) {
  const V zero = broadcast<V>(0), one = broadcast<V>(1);
  const V small = exponential(x < zero ? x : zero - x);
  return (x < zero ? small : one) / (one + small);
}

template <class V>
V slope_of(const ElementLoss& loss, V x, V t) {
  const V d = x - t, zero = broadcast<V>(0), one = broadcast<V>(1), delta = broadcast<V>(loss.delta);
  switch (loss.kind) {
    case Kind::squared:
      return d + d;
    case Kind::absolute:
      // NaN is neither above nor below, and stays itself.
      return d > zero ? one : (d < zero ? zero - one : d);
    case Kind::huber:
      return d > delta ? delta : (d < zero - delta ? zero - delta : d);
    default: {
      const V kept = broadcast<V>(1 - loss.label_smoothing), half = broadcast<V>(loss.label_smoothing / 2);
      return sigmoid(x) - (t * kept + half);
    }
  }
}

}  // namespace

Kernel make(const ElementLossOp& op, const Signature& signature) {
  const Shape shape = signature.in[0].shape;
  return {.workspace = static_cast<size_t>(shape[0]) * sizeof(double),
          .run = [shape, loss = op.loss](Stream&, const Args& args) {
            const float *x = args.in[0].as(), *t = args.in[1].as();
            auto* sums = reinterpret_cast<double*>(args.workspace);
            const int64_t valid = args.in[2].as<LaneState>()->valid, each = numbers_of_sample(shape);
            parallel_for(valid, each * 32, [&](int64_t begin, int64_t end) {
              for (int64_t n = begin; n < end; ++n) {
                sums[n] = 0;
                for (int64_t i = n * each; i < (n + 1) * each; ++i) sums[n] += value_of(loss, x[i], t[i]);
              }
            });
            const double sum = std::accumulate(sums, sums + valid, 0.0);
            *args.out[0].as() = static_cast<float>(sum / static_cast<double>(each));
          }};
}

Kernel make(const ElementLossGradOp& op, const Signature& signature) {
  return {.run = [shape = signature.in[0].shape, loss = op.loss, scaled = op.scaled](Stream&, const Args& args) {
    const float *x = args.in[0].as(), *t = args.in[1].as();
    float* dx = args.out[0].as();
    const int64_t each = numbers_of_sample(shape), count = args.in[2].as<LaneState>()->valid * each;
    const float scale = (scaled ? args.in[3].as<LossScale>()->scale : 1) / static_cast<float>(each);
    parallel_for(count, 32, [&](int64_t begin, int64_t end) {
      if (loss.kind == Kind::focal) {
        for (int64_t i = begin; i < end; ++i)
          dx[i] = static_cast<float>(Focal(loss, x[i], smoothed(loss, t[i])).slope) * scale;
        return;
      }
      for_each_vec(end - begin, [&]<class V>(V, int64_t i) {
        const int64_t at = begin + i;
        store(dx + at, slope_of(loss, load<V>(x + at), load<V>(t + at)) * broadcast<V>(scale));
      });
    });
    std::fill(dx + count, dx + shape.elements(), 0.0F);
  }};
}

}  // namespace lockstep::cpu
