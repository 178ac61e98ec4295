// Streams and events of a CUDA device. Each belongs to one rank and is used by that rank's thread, but for events,
// which other ranks' streams of the same process may wait for.
#pragma once

#include <cuda_runtime_api.h>

#include <deque>
#include <exception>
#include <mutex>

#include "core/handle.h"
#include "core/stream.h"

namespace lockstep::cuda {

/// The first exception that host work on any stream of a rank has thrown; it ends the rank's work.
class Failure {
 public:
  bool set() const;
  void keep(std::exception_ptr error);
  void rethrow() const;

 private:
  mutable std::mutex mutex_;
  std::exception_ptr error_;
};

class CudaEvent final : public Event {
 public:
  explicit CudaEvent(std::shared_ptr<const Failure> failure);
  void synchronize() override;
  bool reached() override;
  cudaEvent_t get() const { return event_.get(); }

 private:
  Handle<cudaEvent_t, cudaEventDestroy> event_;
  std::shared_ptr<const Failure> failure_;
};

class CudaStream final : public Stream {
 public:
  /// On the current device. `urgent` work is scheduled before that of other streams.
  CudaStream(std::shared_ptr<Failure> failure, bool urgent);
  /// Waits for the work, so that nothing runs on memory that is freed next.
  ~CudaStream() override;

  bool on_device() const override { return true; }
  /// What `work` throws is thrown by `synchronize` of any of the rank's streams and events; later host work is dropped.
  void enqueue(std::function<void()> work) override;
  void copy(std::byte* to, const std::byte* from, size_t bytes) override;
  void accumulate(float* to, const float* from, size_t n) override;
  void copy_rows(std::byte* to, size_t to_pitch, const std::byte* from, size_t from_pitch, size_t bytes,
                 size_t rows) override;
  void accumulate_rows(DType dtype, std::byte* to, size_t to_pitch, const std::byte* from, size_t n,
                       size_t rows) override;
  void zero(std::byte* to, size_t bytes) override;
  void gather(std::byte* to, const std::byte* from, std::span<const int32_t> rows, size_t row_bytes) override;
  std::unique_ptr<Event> event() override { return std::make_unique<CudaEvent>(failure_); }
  void record(Event& event) override;
  void wait(Event& event) override;
  void synchronize() override;

  cudaStream_t get() const { return stream_.get(); }

 private:
  struct HostWork {
    std::function<void()> work;
    std::shared_ptr<Failure> failure;
  };
  static void run_once(void* host_work);
  static void run_again(void* host_work);

  Handle<cudaStream_t, cudaStreamDestroy> stream_;
  std::shared_ptr<Failure> failure_;
  std::deque<HostWork> captured_;  // work that graphs replay
};

/// CUDA's handle of a stream of this backend.
inline cudaStream_t native(Stream& stream) { return static_cast<CudaStream&>(stream).get(); }

}  // namespace lockstep::cuda
