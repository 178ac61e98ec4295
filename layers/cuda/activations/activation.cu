#include "layers/activations/formulas.h"
#include "layers/cuda/context.h"
#include "layers/cuda/elementwise.cuh"

namespace lockstep::cuda {

namespace {

struct Math {
  struct Logistic {
    float s, rest;
  };
  struct Normal {
    float distribution, density;
  };
  __device__ static Logistic logistic(float x) { return {1 / (1 + expf(-x)), 1 / (1 + expf(x))}; }
  __device__ static Normal normal(float x) {
    return {0.5F * erfcf(-0.70710678F * x), expf(-0.5F * x * x) * 0.39894228F};
  }
  __device__ static float tanh(float x) { return tanhf(x); }
  __device__ static float expm1(float x) { return expm1f(x); }
};

template <class Formula>
struct Value {
  Formula formula;
  __device__ float operator()(float x) const { return formula.template value<Math>(x); }
};

template <class Formula>
struct Gradient {
  Formula formula;
  __device__ float operator()(float kept, float dy) const { return dy * formula.template slope<Math>(kept); }
};

}  // namespace

Kernel make(const ActivationOp& op, const Signature& signature, const SharedContext&) {
  return formulas::with_formula(
      op.curve, [&]<class Formula>(Formula formula) { return elementwise<1>(signature, Value<Formula>{formula}); });
}

Kernel make(const ActivationGradOp& op, const Signature& signature, const SharedContext&) {
  return formulas::with_formula(
      op.curve, [&]<class Formula>(Formula formula) { return elementwise<2>(signature, Gradient<Formula>{formula}); });
}

}  // namespace lockstep::cuda
