#include "layers/activations/softmax.h"

#include "layers/cuda/context.h"
#include "layers/cuda/rows.cuh"

namespace lockstep::cuda {

namespace {

template <int Threads>
__global__ void softmax_kernel(const float* x, float* y, int64_t rows, int64_t classes) {
  __shared__ RowScratch scratch;
  const RowThread<Threads> thread;
  if (thread.row >= rows) return;
  x += thread.row * classes;
  y += thread.row * classes;
  const float scale = row_exponentials<Threads>(x, y, classes, scratch);
  for (int64_t k = thread.first; k < classes; k += Threads) y[k] *= scale;
}

template <int Threads>
__global__ void softmax_grad_kernel(const float* y, const float* dy, float* dx, int64_t rows, int64_t classes) {
  __shared__ RowScratch scratch;
  const RowThread<Threads> thread;
  if (thread.row >= rows) return;
  y += thread.row * classes;
  dy += thread.row * classes;
  dx += thread.row * classes;
  double dot = 0;
  for (int64_t k = thread.first; k < classes; k += Threads) dot += double{y[k]} * double{dy[k]};
  const float mean = static_cast<float>(row_sum<Threads>(dot, scratch));
  for (int64_t k = thread.first; k < classes; k += Threads) dx[k] = y[k] * (dy[k] - mean);
}

struct Rows {
  int64_t count = 0, classes = 0;

  explicit Rows(const Type& x) : count(x.shape.elements() / std::max<int64_t>(x.shape[-1], 1)), classes(x.shape[-1]) {}
  bool empty() const { return count == 0 || classes == 0; }
};

}  // namespace

Kernel make(const SoftmaxOp&, const Signature& signature, const SharedContext&) {
  return {.run = [rows = Rows(signature.in[0])](Stream& stream, const Args& args) {
    if (rows.empty()) return;
    with_row_threads(rows.classes, [&]<int Threads>(std::integral_constant<int, Threads>) {
      launch(stream, row_grid<Threads>(rows.count), softmax_kernel<Threads>, args.in[0].as(), args.out[0].as(),
             rows.count, rows.classes);
    });
  }};
}

Kernel make(const SoftmaxGradOp&, const Signature& signature, const SharedContext&) {
  return {.run = [rows = Rows(signature.in[0])](Stream& stream, const Args& args) {
    if (rows.empty()) return;
    with_row_threads(rows.classes, [&]<int Threads>(std::integral_constant<int, Threads>) {
      launch(stream, row_grid<Threads>(rows.count), softmax_grad_kernel<Threads>, args.in[0].as(), args.in[1].as(),
             args.out[0].as(), rows.count, rows.classes);
    });
  }};
}

}  // namespace lockstep::cuda
