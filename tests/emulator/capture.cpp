// Capture: calls become nodes, each after those that its stream and its events name. And graphs made of them.
#include <algorithm>

#include "device.h"

struct CUgraph_st {
  std::vector<emulator::Node> nodes;
};
struct CUgraphExec_st {
  std::vector<emulator::Node> nodes;  // in an order that they allow
};

namespace emulator {

namespace {

std::vector<std::shared_ptr<Capture>>& captures_locked() {
  static auto* captures = new std::vector<std::shared_ptr<Capture>>;
  return *captures;
}

thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

void unite(std::vector<size_t>& all, const std::vector<size_t>& more) {
  for (const size_t node : more)
    if (std::ranges::count(all, node) == 0) all.push_back(node);
}

/// Whether every node lies before one of `ends`, or is one of them.
bool all_before(const std::vector<Node>& nodes, const std::vector<size_t>& ends) {
  std::vector<bool> found(nodes.size());
  for (const size_t end : ends) found[end] = true;
  for (size_t i = nodes.size(); i-- > 0;)  // a node follows earlier ones only
    if (found[i])
      for (const size_t before : nodes[i].after) found[before] = true;
  return std::ranges::count(found, false) == 0;
}

/// As recorded, or the reverse as far as dependencies allow: so that one that is missing is seen.
std::vector<Node> ordered(const std::vector<Node>& nodes) {
  if (order() == Order::ascending) return nodes;
  std::vector<Node> sorted;
  std::vector<bool> done(nodes.size());
  while (sorted.size() < nodes.size()) {
    for (size_t i = nodes.size(); i-- > 0;) {
      if (done[i] || !std::ranges::all_of(nodes[i].after, [&](size_t before) { return done[before]; })) continue;
      done[i] = true;
      sorted.push_back(nodes[i]);
      break;
    }
  }
  return sorted;
}

}  // namespace

cudaError_t allowed_outside_capture() {
  if (failed()) return failure();
  const std::lock_guard lock(state());
  bool any = false;
  for (const auto& capture : captures_locked()) {
    const bool own = capture->thread == std::this_thread::get_id();
    const bool forbids = capture->mode == cudaStreamCaptureModeGlobal
                             ? own || thread_mode == cudaStreamCaptureModeGlobal
                             : capture->mode == cudaStreamCaptureModeThreadLocal && own;
    if (!forbids || thread_mode == cudaStreamCaptureModeRelaxed) continue;
    capture->broken = any = true;
  }
  return any ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}

cudaError_t break_capture_locked(cudaStream_t stream) {
  if (!stream->capture) return cudaSuccess;
  stream->capture->broken = true;
  return cudaErrorStreamCaptureUnsupported;
}

cudaError_t add_node_locked(cudaStream_t stream, Work work, Kind kind) {
  Capture& capture = *stream->capture;
  if (capture.broken) return cudaErrorStreamCaptureInvalidated;
  capture.nodes.push_back({std::move(work), kind, std::move(stream->after)});
  stream->after = {capture.nodes.size() - 1};
  return cudaSuccess;
}

void record_captured_locked(cudaStream_t stream, cudaEvent_t event) {
  event->capture = stream->capture;
  event->after = stream->after;
}

cudaError_t wait_captured_locked(cudaStream_t stream, cudaEvent_t event) {
  if (event->capture && event->capture->ended) {
    if (stream->capture) stream->capture->broken = true;
    return stream->capture ? cudaErrorStreamCaptureIsolation : cudaErrorCapturedEvent;
  }
  if (!event->capture) {
    stream->capture->broken = true;
    return cudaErrorStreamCaptureIsolation;
  }
  if (event->capture->broken) return cudaErrorStreamCaptureInvalidated;
  if (stream->capture && stream->capture != event->capture) {
    stream->capture->broken = event->capture->broken = true;
    return cudaErrorStreamCaptureMerge;
  }
  if (!stream->capture) {
    stream->capture = event->capture;
    stream->after.clear();
  }
  unite(stream->after, event->after);
  return cudaSuccess;
}

}  // namespace emulator

using namespace emulator;

cudaError_t cudaStreamIsCapturing(cudaStream_t given, cudaStreamCaptureStatus* status) {
  const std::lock_guard lock(state());
  const cudaStream_t stream = resolved_locked(given);
  *status = !stream->capture          ? cudaStreamCaptureStatusNone
            : stream->capture->broken ? cudaStreamCaptureStatusInvalidated
                                      : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (failed()) return result(failure());
  const std::lock_guard lock(state());
  if (!stream) return result(cudaErrorStreamCaptureUnsupported);
  if (stream->capture) return result(break_capture_locked(stream));
  stream->capture =
      std::make_shared<Capture>(Capture{.origin = stream, .mode = mode, .thread = std::this_thread::get_id()});
  stream->after.clear();
  captures_locked().push_back(stream->capture);
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  const std::lock_guard lock(state());
  if (!stream || !stream->capture) return result(cudaErrorInvalidValue);
  const auto capture = stream->capture;
  if (capture->mode != cudaStreamCaptureModeRelaxed && capture->thread != std::this_thread::get_id())
    return result(cudaErrorStreamCaptureWrongThread);
  if (capture->origin != stream) {
    capture->broken = true;
    return result(cudaErrorStreamCaptureUnmatched);
  }
  const bool joined = all_before(capture->nodes, stream->after);
  capture->ended = true;
  std::erase(captures_locked(), capture);
  for (const cudaStream_t other : streams_locked())
    if (other->capture == capture) other->capture = nullptr;
  if (capture->broken) return result(cudaErrorStreamCaptureInvalidated);
  if (!joined) return result(cudaErrorStreamCaptureUnjoined);
  *graph = new CUgraph_st{std::move(capture->nodes)};
  return cudaSuccess;
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, thread_mode);
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  if (!exec || !graph) return result(cudaErrorInvalidValue);
  *exec = new CUgraphExec_st{ordered(graph->nodes)};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  if (!exec) return result(cudaErrorInvalidValue);
  {
    const std::lock_guard lock(state());
    const cudaStream_t own = resolved_locked(stream);
    if (own->capture) {
      own->capture->broken = true;  // graphs inside graphs are not emulated
      return result(cudaErrorNotSupported);
    }
  }
  for (const Node& node : exec->nodes)
    if (const cudaError_t error = enqueue(stream, node.work, node.kind)) return result(error);
  return cudaSuccess;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t) { return exec ? cudaSuccess : cudaErrorInvalidValue; }

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
