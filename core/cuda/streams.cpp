#include "core/cuda/streams.h"

#include "core/cuda/check.h"

namespace lockstep::cuda {

bool Failure::set() const {
  const std::lock_guard lock(mutex_);
  return error_ != nullptr;
}

void Failure::keep(std::exception_ptr error) {
  const std::lock_guard lock(mutex_);
  if (!error_) error_ = std::move(error);
}

void Failure::rethrow() const {
  const std::lock_guard lock(mutex_);
  if (error_) std::rethrow_exception(error_);
}

CudaEvent::CudaEvent(std::shared_ptr<const Failure> failure) : failure_(std::move(failure)) {
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  event_ = decltype(event_)(event);
}

void CudaEvent::synchronize() {
  check(cudaEventSynchronize(get()), "cudaEventSynchronize");
  failure_->rethrow();
}

bool CudaEvent::reached() {
  const cudaError_t status = cudaEventQuery(get());
  if (status != cudaErrorNotReady) check(status, "cudaEventQuery");
  return status == cudaSuccess;
}

CudaStream::CudaStream(std::shared_ptr<Failure> failure, bool urgent) : failure_(std::move(failure)) {
  int least = 0, greatest = 0;
  check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cudaDeviceGetStreamPriorityRange");
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, urgent ? greatest : least),
        "cudaStreamCreateWithPriority");
  stream_ = decltype(stream_)(stream);
}

CudaStream::~CudaStream() { static_cast<void>(cudaStreamSynchronize(get())); }

void CudaStream::run_again(void* host_work) {
  auto& [work, failure] = *static_cast<HostWork*>(host_work);
  if (failure->set()) return;
  try {
    work();
  } catch (...) {
    failure->keep(std::current_exception());
  }
}

void CudaStream::run_once(void* host_work) {
  run_again(host_work);
  delete static_cast<HostWork*>(host_work);
}

void CudaStream::enqueue(std::function<void()> work) {
  cudaStreamCaptureStatus capturing{};
  check(cudaStreamIsCapturing(get(), &capturing), "cudaStreamIsCapturing");
  if (capturing == cudaStreamCaptureStatusActive) {
    captured_.push_back({std::move(work), failure_});
    check(cudaLaunchHostFunc(get(), run_again, &captured_.back()), "cudaLaunchHostFunc");
    return;
  }
  auto once = std::make_unique<HostWork>(std::move(work), failure_);
  check(cudaLaunchHostFunc(get(), run_once, once.get()), "cudaLaunchHostFunc");
  static_cast<void>(once.release());
}

void CudaStream::copy(std::byte* to, const std::byte* from, size_t bytes) {
  if (bytes) check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, get()), "cudaMemcpyAsync");
}

void CudaStream::record(Event& event) {
  check(cudaEventRecord(static_cast<CudaEvent&>(event).get(), get()), "cudaEventRecord");
}

void CudaStream::wait(Event& event) {
  check(cudaStreamWaitEvent(get(), static_cast<CudaEvent&>(event).get(), 0), "cudaStreamWaitEvent");
}

void CudaStream::synchronize() {
  check(cudaStreamSynchronize(get()), "cudaStreamSynchronize");
  failure_->rethrow();
}

}  // namespace lockstep::cuda
