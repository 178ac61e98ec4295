// Streams, events, and launches.
#include <algorithm>
#include <map>
#include <set>

#include "device.h"

namespace emulator {

std::vector<cudaStream_t>& streams_locked() {
  static auto* streams = new std::vector<cudaStream_t>;
  return *streams;
}

cudaStream_t resolved_locked(cudaStream_t stream) {
  if (stream) return stream;
  static auto* legacy = new std::map<int, cudaStream_t>;
  cudaStream_t& own = (*legacy)[current_device()];
  if (!own) {
    own = new CUstream_st{.device = current_device()};
    streams_locked().push_back(own);
  }
  return own;
}

namespace {

void follow_locked(cudaStream_t stream, cudaStream_t other) {
  if (const uint64_t place = other->queue->pushed_locked())
    stream->queue->push_locked([queue = other->queue, place] { queue->wait(place); }, Kind::copy);
}

bool known_locked(cudaStream_t stream) { return !stream || std::ranges::count(streams_locked(), stream) == 1; }

std::set<cudaEvent_t>& events_locked() {
  static auto* events = new std::set<cudaEvent_t>;
  return *events;
}

/// Null's stream and those that were not made non-blocking wait for one another.
void order_with_legacy_locked(cudaStream_t stream, bool legacy) {
  if (stream->flags & cudaStreamNonBlocking) return;
  const auto all = streams_locked();
  const cudaStream_t null_stream = legacy ? stream : resolved_locked(nullptr);
  for (const cudaStream_t other : all)
    if (other != stream && other->device == stream->device && !(other->flags & cudaStreamNonBlocking))
      if (legacy || other == null_stream) follow_locked(stream, other);
}

}  // namespace

cudaError_t enqueue(cudaStream_t given, Work work, Kind kind) {
  if (failed()) return failure();
  const std::lock_guard lock(state());
  if (!known_locked(given)) return cudaErrorInvalidResourceHandle;
  const cudaStream_t stream = resolved_locked(given);
  if (stream->capture) return add_node_locked(stream, std::move(work), kind);
  order_with_legacy_locked(stream, !given);
  stream->queue->push_locked(
      [work = std::move(work)] {
        if (!failed()) work();
      },
      kind);
  return cudaSuccess;
}

cudaError_t launch(const cudaLaunchConfig_t& config, const void* kernel, Thread thread, Parameters parameters) {
  const std::shared_ptr<void> shared(parameters.at, parameters.destroy);
  const dim3 grid = config.gridDim, block = config.blockDim;
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (!kernel || threads == 0 || threads > 1024 || block.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 ||
      grid.x > 0x7FFFFFFFU || grid.y > 0xFFFFU || grid.z > 0xFFFFU || config.dynamicSmemBytes > (size_t{227} << 10))
    return result(cudaErrorInvalidConfiguration);
  {
    const std::lock_guard lock(state());
    if (!known_locked(config.stream) || resolved_locked(config.stream)->device != current_device())
      return result(cudaErrorInvalidResourceHandle);
  }
  return result(enqueue(config.stream, [=] { run_grid(grid, block, thread, shared.get()); }));
}

}  // namespace emulator

using namespace emulator;

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  if (failed()) return result(failure());
  if (devices() == 0) return result(cudaErrorNoDevice);
  if (!stream || flags > cudaStreamNonBlocking) return result(cudaErrorInvalidValue);
  const std::lock_guard lock(state());
  *stream = new CUstream_st{.device = current_device(), .flags = flags};
  streams_locked().push_back(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return cudaStreamCreateWithPriority(stream, flags, 0);
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithFlags(stream, cudaStreamDefault); }

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  {
    std::unique_lock lock(state());
    if (!stream || !known_locked(stream)) return result(cudaErrorInvalidResourceHandle);
    static_cast<void>(break_capture_locked(stream));
    std::erase(streams_locked(), stream);
    const auto queue = stream->queue;
    queue->wait_locked(queue->pushed_locked(), lock);
  }
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t given) {
  if (const cudaError_t error = allowed_outside_capture()) return result(error);
  std::unique_lock lock(state());
  if (!known_locked(given)) return result(cudaErrorInvalidResourceHandle);
  const cudaStream_t stream = resolved_locked(given);
  if (stream->capture) return result(break_capture_locked(stream));
  if (!given) order_with_legacy_locked(stream, true);
  const auto queue = stream->queue;  // another thread may destroy the stream meanwhile
  queue->wait_locked(queue->pushed_locked(), lock);
  return result(failure());
}

cudaError_t cudaStreamQuery(cudaStream_t given) {
  if (const cudaError_t error = allowed_outside_capture()) return result(error);
  const std::lock_guard lock(state());
  if (!known_locked(given)) return result(cudaErrorInvalidResourceHandle);
  const cudaStream_t stream = resolved_locked(given);
  if (stream->capture) return result(break_capture_locked(stream));
  if (failed()) return result(failure());
  return stream->queue->ask_locked(stream->queue->pushed_locked()) ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaDeviceSynchronize() {
  if (const cudaError_t error = allowed_outside_capture()) return result(error);
  std::unique_lock lock(state());
  std::vector<std::pair<std::shared_ptr<Queue>, uint64_t>> places;
  for (const cudaStream_t stream : streams_locked())
    if (stream->device == current_device() && !stream->capture)
      places.emplace_back(stream->queue, stream->queue->pushed_locked());
  for (const auto& [queue, place] : places) queue->wait_locked(place, lock);
  return result(failure());
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  if (!function) return result(cudaErrorInvalidValue);
  return result(enqueue(
      stream, [=] { function(data); }, Kind::host));
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  if (failed()) return result(failure());
  if (!event) return result(cudaErrorInvalidValue);
  const std::lock_guard lock(state());
  *event = new CUevent_st{.flags = flags};
  events_locked().insert(*event);
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  {
    const std::lock_guard lock(state());
    if (events_locked().erase(event) == 0) return result(cudaErrorInvalidResourceHandle);
  }
  delete event;  // the last owner of its queue waits for that queue, which needs the lock
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t given) {
  if (failed()) return result(failure());
  std::shared_ptr<Queue> before;  // of a stream that is gone, perhaps: its end takes the lock
  const std::lock_guard lock(state());
  if (!events_locked().contains(event) || !known_locked(given)) return result(cudaErrorInvalidResourceHandle);
  const cudaStream_t stream = resolved_locked(given);
  if (stream->capture) {
    if (stream->capture->broken) return result(cudaErrorStreamCaptureInvalidated);
    record_captured_locked(stream, event);
    return cudaSuccess;
  }
  if (!given) order_with_legacy_locked(stream, true);
  event->capture = nullptr;
  before = std::exchange(event->queue, stream->queue);
  event->place = stream->queue->pushed_locked();
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t given, cudaEvent_t event, unsigned) {
  if (failed()) return result(failure());
  const std::lock_guard lock(state());
  if (!events_locked().contains(event) || !known_locked(given)) return result(cudaErrorInvalidResourceHandle);
  const cudaStream_t stream = resolved_locked(given);
  if (stream->capture || event->capture) return result(wait_captured_locked(stream, event));
  if (event->queue && event->queue != stream->queue)
    stream->queue->push_locked([queue = event->queue, place = event->place] { queue->wait(place); }, Kind::copy);
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (const cudaError_t error = allowed_outside_capture()) return result(error);
  std::unique_lock lock(state());
  if (!events_locked().contains(event)) return result(cudaErrorInvalidResourceHandle);
  if (event->capture) return result(cudaErrorCapturedEvent);
  if (const auto queue = event->queue) queue->wait_locked(event->place, lock);
  return result(failure());
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (const cudaError_t error = allowed_outside_capture()) return result(error);
  const std::lock_guard lock(state());
  if (!events_locked().contains(event)) return result(cudaErrorInvalidResourceHandle);
  if (event->capture) return result(cudaErrorCapturedEvent);
  if (failed()) return result(failure());
  return !event->queue || event->queue->ask_locked(event->place) ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  const std::lock_guard lock(state());
  if (!events_locked().contains(start) || !events_locked().contains(end) || !milliseconds ||
      (start->flags | end->flags) & cudaEventDisableTiming)
    return result(cudaErrorInvalidResourceHandle);
  *milliseconds = 0;  // no time is emulated
  return cudaSuccess;
}
