// What the parts of the emulator share.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "cuda_runtime.h"
#include "emulator.h"

namespace emulator {

using Work = std::function<void()>;

/// What a stream's work is: a kernel may touch device memory where kernels see it, the others may not.
enum class Kind : unsigned char { kernel, copy, host };

/// One lock for the state of all streams, events and captures; not held while work runs.
std::mutex& state();

/// The work of a stream. It is done only when somebody asks for it: then a thread of the stream's own runs it up to the
/// place that was asked for. Host functions are run after a short while unasked, since host code may wait for them by
/// other means than the runtime's. All functions are called without the lock, but for those named otherwise.
class Queue {
 public:
  ~Queue();
  /// Returns the work's place: how many pieces have been pushed. With the lock.
  uint64_t push_locked(Work work, Kind kind);
  uint64_t pushed_locked() const { return pushed_; }
  /// Whether the first `place` pieces are done; asks for them where they are not, so that it will be true some day.
  bool ask_locked(uint64_t place);
  void wait(uint64_t place);
  void wait_locked(uint64_t place, std::unique_lock<std::mutex>& lock);

 private:
  void run();

  struct Piece {
    Work work;
    Kind kind;
  };
  std::deque<Piece> pieces_;
  uint64_t pushed_ = 0, done_ = 0, wanted_ = 0, last_host_ = 0;
  bool stop_ = false;
  std::condition_variable asked_, progress_;
  std::thread thread_;
};

struct Capture;

/// One piece of a graph, and which earlier pieces it follows.
struct Node {
  Work work;
  Kind kind = Kind::kernel;
  std::vector<size_t> after;
};

/// Enqueues work, or records it where the stream captures.
cudaError_t enqueue(cudaStream_t stream, Work work, Kind kind = Kind::kernel);

/// Keeps `error` for cudaGetLastError, and returns it.
cudaError_t result(cudaError_t error);
/// Makes every later call return `error`, and describe it with `message`.
void fail(cudaError_t error, const std::string& message);
/// What a kernel failed with, or success.
cudaError_t failure();
bool failed();

/// Calls that a capture of this thread forbids: breaks the capture and says so, or success.
cudaError_t allowed_outside_capture();

/// Runs a kernel, on the calling thread. Failures go to `fail`.
void run_grid(dim3 grid, dim3 block, Thread thread, const void* parameters);

/// Whether `bytes` from `at` on lie whole in one allocation that lives, or in host memory. `device`: where they must
/// lie.
enum class Place : unsigned char { any, host, device };
bool accessible(const void* at, size_t bytes, Place place);

/// Memory of the devices, which the host must not touch; null where there is none left. `bytes` when it is given back:
/// as many as were taken.
void* take(size_t bytes);
void give_back(void* memory, size_t bytes);
/// The other address of a byte of such memory, which is always open; of other memory the same.
std::byte* inside(const void* at);
/// While one lives, memory of the devices may be touched: it is made where a device's kernels run.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

int current_device();
int devices();

}  // namespace emulator

struct CUstream_st {
  int device = 0;
  unsigned flags = 0;
  std::shared_ptr<emulator::Queue> queue = std::make_shared<emulator::Queue>();
  std::shared_ptr<emulator::Capture> capture = nullptr;
  std::vector<size_t> after = {};  // the nodes that the next one follows, while capturing
};

struct CUevent_st {
  std::shared_ptr<emulator::Queue> queue = nullptr;  // of the latest record
  uint64_t place = 0;
  unsigned flags = 0;
  std::shared_ptr<emulator::Capture> capture = nullptr;  // where the latest record is part of one
  std::vector<size_t> after = {};
};

namespace emulator {

struct Capture {
  cudaStream_t origin = nullptr;
  cudaStreamCaptureMode mode{};
  std::thread::id thread = {};
  bool broken = false, ended = false;
  std::vector<Node> nodes = {};
};

/// The stream that null stands for, else `stream`. With the lock.
cudaStream_t resolved_locked(cudaStream_t stream);
/// All streams, those that null stands for included. With the lock.
std::vector<cudaStream_t>& streams_locked();
/// cudaStreamWaitEvent and cudaEventRecord where either side captures.
cudaError_t wait_captured_locked(cudaStream_t stream, cudaEvent_t event);
void record_captured_locked(cudaStream_t stream, cudaEvent_t event);
cudaError_t add_node_locked(cudaStream_t stream, Work work, Kind kind);
/// Breaks the capture of `stream`, if any.
cudaError_t break_capture_locked(cudaStream_t stream);

}  // namespace emulator
