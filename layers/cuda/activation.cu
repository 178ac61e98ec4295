#include "layers/activation.h"

#include "layers/cuda/context.h"
#include "layers/cuda/elementwise.cuh"

namespace lockstep::cuda {

namespace {

__device__ inline float logistic(float x) { return 1 / (1 + expf(-x)); }
/// Phi(x) of the normal distribution.
__device__ inline float normal(float x) { return 0.5F * erfcf(-0.70710678F * x); }
__device__ inline float bounded(float x, float low, float high) {
  const float above = x < low ? low : x;
  return above > high ? high : above;
}

/// As on the CPU: y from x, and dy/dx from what the gradient keeps.
struct Sigmoid {
  __device__ float value(float x) const { return logistic(x); }
  __device__ float slope(float y) const { return y * (1 - y); }
};

struct Tanh {
  __device__ float value(float x) const { return tanhf(x); }
  __device__ float slope(float y) const { return 1 - y * y; }
};

struct Silu {
  __device__ float value(float x) const { return x * logistic(x); }
  __device__ float slope(float x) const { return logistic(x) + x * (logistic(x) * logistic(-x)); }
};

struct Gelu {
  __device__ float value(float x) const { return x * normal(x); }
  __device__ float slope(float x) const { return normal(x) + x * (expf(-0.5F * x * x) * 0.39894228F); }
};

struct GeluTanh {
  static constexpr float twice = 1.5957691F, cubic = 0.044715F;  // 2 sqrt(2 / pi)
  __device__ static float argument(float b) { return twice * (b + cubic * b * b * b); }
  __device__ float value(float x) const { return x * logistic(argument(bounded(x, -30, 30))); }
  __device__ float slope(float x) const {
    const float b = bounded(x, -30, 30), u = argument(b);
    return logistic(u) + x * (logistic(u) * logistic(-u)) * (twice * (1 + 3 * cubic * b * b));
  }
};

struct Elu {
  float alpha;
  __device__ float value(float x) const { return x < 0 ? alpha * expm1f(x) : x; }
  __device__ float slope(float y) const { return y > 0 ? 1.0F : y + alpha; }
};

struct HardSigmoid {
  __device__ float value(float x) const { return bounded(x + 3, 0, 6) / 6; }
  __device__ float slope(float x) const { return x > -3 && x < 3 ? 1.0F / 6 : 0.0F; }
};

struct HardSilu {
  __device__ float value(float x) const { return x * (bounded(x + 3, 0, 6) / 6); }
  __device__ float slope(float x) const {
    const float right = x < 3 ? (x + x + 3) / 6 : 1.0F;
    return x > -3 ? right : 0.0F;
  }
};

struct Linear {
  float factor;
  __device__ float value(float x) const { return factor * x; }
  __device__ float slope(float) const { return factor; }
};

struct Relu {
  float below, threshold, top;
  __device__ float value(float x) const {
    const float above = top < x ? top : x;
    return x < threshold ? below * (x - threshold) : above;
  }
  __device__ float slope(float y) const {
    const float inside = y < top ? 1.0F : 0.0F;
    return y > 0 ? inside : below;
  }
};

template <class Function>
struct Value {
  Function function;
  __device__ float operator()(float x) const { return function.value(x); }
};

template <class Function>
struct Gradient {
  Function function;
  __device__ float operator()(float kept, float dy) const { return dy * function.slope(kept); }
};

/// Calls body with the function that the curve is.
template <class Body>
Kernel with_function(const Curve& curve, Body body) {
  switch (curve.kind) {
    case Curve::Kind::sigmoid:
      return body(Sigmoid{});
    case Curve::Kind::tanh:
      return body(Tanh{});
    case Curve::Kind::silu:
      return body(Silu{});
    case Curve::Kind::gelu:
      return body(Gelu{});
    case Curve::Kind::gelu_tanh:
      return body(GeluTanh{});
    case Curve::Kind::elu:
      return body(Elu{curve.slope});
    case Curve::Kind::hard_sigmoid:
      return body(HardSigmoid{});
    case Curve::Kind::hard_silu:
      return body(HardSilu{});
    case Curve::Kind::linear:
      return body(Linear{curve.slope});
    case Curve::Kind::relu:
      return body(Relu{curve.slope, curve.threshold, curve.top});
  }
  throw Error("no kernel for the activation {}", curve.str());
}

}  // namespace

Kernel make(const ActivationOp& op, const Signature& signature, const SharedContext&) {
  return with_function(op.curve, [&]<class Function>(Function function) {
    return elementwise<1>(signature, Value<Function>{function});
  });
}

Kernel make(const ActivationGradOp& op, const Signature& signature, const SharedContext&) {
  return with_function(op.curve, [&]<class Function>(Function function) {
    return elementwise<2>(signature, Gradient<Function>{function});
  });
}

}  // namespace lockstep::cuda
