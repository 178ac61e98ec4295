#include "layers/activations/relu.h"

#include "layers/cuda/context.h"
#include "layers/cuda/elementwise.cuh"

namespace lockstep::cuda {

Kernel make(const ReluOp&, const Signature& signature, const SharedContext&) {
  return elementwise<1>(signature, [] __device__(float x) { return relu(x); });
}

Kernel make(const ReluGradOp&, const Signature& signature, const SharedContext&) {
  return elementwise<2>(signature, [] __device__(float y, float dy) { return y > 0 ? dy : 0.0F; });
}

}  // namespace lockstep::cuda
