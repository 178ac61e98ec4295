#include "layers/activations/softmax.h"

#include "layers/cpu/activations/softmax.h"
#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"

namespace lockstep::cpu {

namespace {

void softmax_grad_row(const float* y, const float* dy, float* dx, int64_t classes) {
  double dot = 0;
  for (int64_t k = 0; k < classes; ++k) dot += double{y[k]} * double{dy[k]};
  const float mean = static_cast<float>(dot);
  for_each_vec(classes,
               [=]<class V>(V, int64_t k) { store(dx + k, load<V>(y + k) * (load<V>(dy + k) - broadcast<V>(mean))); });
}

}  // namespace

Kernel make(const SoftmaxOp&, const Signature& signature) {
  const int64_t classes = signature.in[0].shape[-1],
                rows = signature.in[0].shape.elements() / std::max<int64_t>(classes, 1);
  return {.run = [=](Stream&, const Args& args) {
    const float* x = args.in[0].as();
    float* y = args.out[0].as();
    parallel_for(rows, classes * 32, [=](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) softmax_row(x + row * classes, y + row * classes, classes);
    });
  }};
}

Kernel make(const SoftmaxGradOp&, const Signature& signature) {
  const int64_t classes = signature.in[0].shape[-1],
                rows = signature.in[0].shape.elements() / std::max<int64_t>(classes, 1);
  return {.run = [=](Stream&, const Args& args) {
    const float* y = args.in[0].as();
    const float* dy = args.in[1].as();
    float* dx = args.out[0].as();
    parallel_for(rows, classes * 16, [=](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        softmax_grad_row(y + row * classes, dy + row * classes, dx + row * classes, classes);
    });
  }};
}

}  // namespace lockstep::cpu
