#include "core/backend.h"

#include "core/cuda/check.h"
#include "core/cuda/cuda.h"
#include "core/cuda/streams.h"
#include "core/error.h"

namespace lockstep {

namespace cuda {

void fail(const char* call, const char* why, std::source_location where) {
  int device = -1;
  static_cast<void>(cudaGetDevice(&device));
  throw Error("{} failed at {}:{} on CUDA device {}: {}", call, where.file_name(), where.line(), device, why);
}

void check(cudaError_t status, const char* call, std::source_location where) {
  if (status == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());  // an error that does not stick must not be found again by the next call
  fail(call, cudaGetErrorString(status), where);
}

namespace {

/// Lets this thread allocate while one of its streams records: a communicator may need memory for what it records.
class AllocationInCapture {
 public:
  AllocationInCapture() { exchange(); }
  AllocationInCapture(const AllocationInCapture&) = delete;
  AllocationInCapture& operator=(const AllocationInCapture&) = delete;
  ~AllocationInCapture() { exchange(); }

 private:
  void exchange() { static_cast<void>(cudaThreadExchangeStreamCaptureMode(&mode_)); }
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

using GraphExec = Handle<cudaGraphExec_t, cudaGraphExecDestroy>;

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const DeviceInfo& device)
      : device_(device), failure_(std::make_shared<Failure>()), copies_(failure_, false) {}

  std::string name() const override { return fmt::format("cuda {} ({})", device_.index, device_.name); }
  std::unique_ptr<Stream> compute_stream() override { return std::make_unique<CudaStream>(failure_, false); }
  std::unique_ptr<Stream> side_stream() override { return std::make_unique<CudaStream>(failure_, true); }

  std::byte* allocate(size_t bytes) override {
    const AllocationInCapture allowed;
    void* memory = nullptr;
    if (const cudaError_t status = cudaMalloc(&memory, bytes); status == cudaErrorMemoryAllocation) {
      static_cast<void>(cudaGetLastError());
      throw Error("out of memory on {}: cannot allocate {} bytes ({:.2f} GiB), {:.2f} GiB are free", name(), bytes,
                  static_cast<double>(bytes) / 0x1p30, static_cast<double>(free_memory().value_or(0)) / 0x1p30);
    } else {
      check(status, "cudaMalloc");
    }
    check(cudaMemsetAsync(memory, 0, bytes, copies_.get()), "cudaMemsetAsync");
    copies_.synchronize();
    return static_cast<std::byte*>(memory);
  }
  void release(std::byte* memory) noexcept override { static_cast<void>(cudaFree(memory)); }

  std::byte* allocate_host(size_t bytes) override {
    const AllocationInCapture allowed;
    void* memory = nullptr;
    check(cudaHostAlloc(&memory, bytes, cudaHostAllocPortable), "cudaHostAlloc");
    std::fill_n(static_cast<std::byte*>(memory), bytes, std::byte{0});
    return static_cast<std::byte*>(memory);
  }
  void release_host(std::byte* memory) noexcept override { static_cast<void>(cudaFreeHost(memory)); }

  std::optional<size_t> free_memory() const override {
    size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    return free;
  }

  void copy(std::byte* to, const std::byte* from, size_t bytes) override {
    copies_.copy(to, from, bytes);
    copies_.synchronize();
  }

  std::function<void()> capture(Stream& stream, std::function<void()> body) override {
    const cudaStream_t origin = native(stream);
    cudaGraph_t recorded = nullptr;
    // Calls of other ranks' threads are none of this capture's business.
    check(cudaStreamBeginCapture(origin, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    try {
      body();
    } catch (...) {
      static_cast<void>(cudaStreamEndCapture(origin, &recorded));
      if (recorded) static_cast<void>(cudaGraphDestroy(recorded));
      throw;
    }
    check(cudaStreamEndCapture(origin, &recorded), "cudaStreamEndCapture");
    const Handle<cudaGraph_t, cudaGraphDestroy> graph(recorded);
    cudaGraphExec_t made = nullptr;
    check(cudaGraphInstantiate(&made, graph.get(), 0), "cudaGraphInstantiate");
    return [exec = std::make_shared<GraphExec>(made), origin] {
      check(cudaGraphLaunch(exec->get(), origin), "cudaGraphLaunch");
    };
  }

 private:
  DeviceInfo device_;
  std::shared_ptr<Failure> failure_;
  CudaStream copies_;
};

}  // namespace
}  // namespace cuda

std::unique_ptr<Backend> make_cuda_backend(int device) {
  const auto devices = cuda_devices();
  if (devices.empty()) throw InputError("no CUDA device to compute on: {}", cuda_status().text);
  if (device < 0 || device >= static_cast<int>(devices.size()))
    throw InputError("CUDA device {}: expected 0 to {}", device, devices.size() - 1);
  cuda::check(cudaSetDevice(device), "cudaSetDevice");
  return std::make_unique<cuda::CudaBackend>(devices[static_cast<size_t>(device)]);
}

}  // namespace lockstep
