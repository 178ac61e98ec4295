// Takes the place of what computes through cuDNN and cuBLASLt: convolutions and dense layers are the CPU's kernels, run
// in stream order on the emulated device's memory, in 32 bits on one thread.
#include <omp.h>

#include "core/cpu/streams.h"
#include "core/cuda/check.h"
#include "core/cuda/streams.h"
#include "core/plan/memory.h"
#include "layers/cpu/kernels.h"
#include "layers/cuda/context.h"
#include "layers/cuda/device.cuh"
#include "layers/linear/conv2d.h"
#include "layers/linear/dense.h"
#include "tests/emulator/device.h"

namespace lockstep {

std::string cudnn_version() { return "emulated"; }
std::string cublas_version() { return "emulated"; }

namespace cuda {

Context::Context(Backend& owner, const KernelOptions& chosen, std::shared_ptr<EngineChoices> choices)
    : backend(owner), options(chosen), engines(std::move(choices)), multiprocessors(4) {}

void check(cudnnStatus_t status, const char* call, std::source_location where) {
  if (status != CUDNN_STATUS_SUCCESS) fail(call, "emulated cuDNN error", where);
}
void check(cublasStatus_t status, const char* call, std::source_location where) {
  if (status != CUBLAS_STATUS_SUCCESS) fail(call, "emulated cuBLAS error", where);
}

namespace {

/// One compute thread for the calling thread's oneDNN calls: its bits depend on their number.
class OneThread {
 public:
  OneThread() { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }

 private:
  int before_ = omp_get_max_threads();
};

template <class T>
void widen(const Tensor& from, float* to) {
  for (int64_t i = 0; i < from.elements(); ++i) to[i] = to_float(from.as<T>()[i]);
}
template <class T>
void narrow(const float* from, const Tensor& to) {
  for (int64_t i = 0; i < to.elements(); ++i) to.as<T>()[i] = from_float<T>(from[i]);
}

bool narrow_type(const Type& type) { return type.dtype == DType::f16 || type.dtype == DType::bf16; }

/// A CPU kernel of f32 tensors, and the 32-bit copies that it works on where the device's are narrower: these lie
/// after its own workspace.
struct Wide {
  Kernel kernel;
  Signature narrow;

  size_t workspace() const {
    size_t bytes = aligned(kernel.workspace);
    for (const auto* types : {&narrow.in, &narrow.out})
      for (const Type& type : *types)
        if (narrow_type(type)) bytes += aligned(Type{type.shape}.bytes());
    return bytes;
  }

  void run(Args args, std::vector<Tensor> in, std::vector<Tensor> out) const {
    const OneThread one;
    InlineStream here;
    std::byte* free = args.workspace + aligned(kernel.workspace);
    const auto copies = [&](std::vector<Tensor>& tensors) {
      for (Tensor& tensor : tensors) {
        if (!narrow_type(tensor.type)) continue;
        tensor = {free, {tensor.shape()}};
        free += aligned(tensor.type.bytes());
      }
    };
    const std::vector<Tensor> given = in, wanted = out;
    copies(in);
    copies(out);
    for (size_t i = 0; i < in.size(); ++i)
      if (in[i].data != given[i].data)
        with_float(given[i].type.dtype, [&]<class T>(T) { widen<T>(given[i], in[i].as()); });
    args.in = in;
    args.out = out;
    kernel.run(here, args);
    for (size_t i = 0; i < out.size(); ++i)
      if (out[i].data != wanted[i].data)
        with_float(wanted[i].type.dtype, [&]<class T>(T) { lockstep::cuda::narrow<T>(out[i].as(), wanted[i]); });
  }

  void prepare(Args args, const std::vector<Tensor>& in, const std::vector<Tensor>& out) const {
    const OneThread one;
    InlineStream here;
    args.in = in;
    args.out = out;
    kernel.prepare(here, args);
  }
};

/// Enqueues body(args, inputs, outputs) as a kernel.
template <class Body>
void enqueue(Stream& stream, const Args& args, Body body) {
  const std::vector<Tensor> in(args.in.begin(), args.in.end()), out(args.out.begin(), args.out.end());
  check(emulator::enqueue(native(stream),
                          [=] {
                            try {
                              body(args, in, out);
                            } catch (const std::exception& error) {
                              emulator::fail(cudaErrorLaunchFailure, error.what());
                            }
                          }),
        "emulator::enqueue");
}

template <class OpClass>
Kernel emulated(const OpClass& op, const Signature& signature) {
  Signature f32 = signature;
  for (auto* types : {&f32.in, &f32.out})
    for (Type& type : *types)
      if (narrow_type(type)) type.dtype = DType::f32;
  const OneThread one;
  const auto wide = std::make_shared<const Wide>(Wide{cpu::make(op, f32), signature});
  Kernel kernel{.workspace = wide->workspace(), .packed = wide->kernel.packed};
  kernel.run = [wide](Stream& stream, const Args& args) {
    enqueue(stream, args, [wide](const Args& a, const auto& in, const auto& out) { wide->run(a, in, out); });
  };
  if (wide->kernel.prepare)
    kernel.prepare = [wide](Stream& stream, const Args& args) {
      enqueue(stream, args, [wide](const Args& a, const auto& in, const auto& out) { wide->prepare(a, in, out); });
    };
  return kernel;
}

}  // namespace

Kernel make(const Conv2dOp& op, const Signature& s, const SharedContext&) { return emulated(op, s); }
Kernel make(const Conv2dDataGradOp& op, const Signature& s, const SharedContext&) { return emulated(op, s); }
Kernel make(const Conv2dWeightGradOp& op, const Signature& s, const SharedContext&) { return emulated(op, s); }
Kernel make(const DenseOp& op, const Signature& s, const SharedContext&) { return emulated(op, s); }
Kernel make(const DenseDataGradOp& op, const Signature& s, const SharedContext&) { return emulated(op, s); }
Kernel make(const DenseWeightGradOp& op, const Signature& s, const SharedContext&) { return emulated(op, s); }

}  // namespace cuda
}  // namespace lockstep
