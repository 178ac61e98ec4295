// The emulated devices, and errors.
#include "device.h"

#include <fmt/format.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <list>
#include <map>
#include <set>

namespace emulator {

namespace {

std::atomic<cudaError_t> failure_{cudaSuccess};
std::mutex message_mutex;
std::list<std::string> messages;  // all are kept: callers keep pointers to their characters
thread_local cudaError_t last = cudaSuccess;
thread_local int device = 0;

std::atomic<Order>& current_order() {
  static std::atomic<Order> order{[] {
    const char* text = std::getenv("LOCKSTEP_EMULATOR_ORDER");
    return text && std::strcmp(text, "reverse") == 0 ? Order::reverse : Order::ascending;
  }()};
  return order;
}

struct Description {
  const char *name, *text;
};

Description describe(cudaError_t error) {
  static const std::map<cudaError_t, Description> known{
      {cudaSuccess, {"cudaSuccess", "no error"}},
      {cudaErrorInvalidValue, {"cudaErrorInvalidValue", "invalid argument"}},
      {cudaErrorMemoryAllocation, {"cudaErrorMemoryAllocation", "out of memory"}},
      {cudaErrorInvalidConfiguration, {"cudaErrorInvalidConfiguration", "invalid configuration argument"}},
      {cudaErrorInvalidMemcpyDirection, {"cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"}},
      {cudaErrorNoDevice, {"cudaErrorNoDevice", "no CUDA-capable device is detected"}},
      {cudaErrorInvalidDevice, {"cudaErrorInvalidDevice", "invalid device ordinal"}},
      {cudaErrorInvalidResourceHandle, {"cudaErrorInvalidResourceHandle", "invalid resource handle"}},
      {cudaErrorNotReady, {"cudaErrorNotReady", "device not ready"}},
      {cudaErrorLaunchFailure, {"cudaErrorLaunchFailure", "unspecified launch failure"}},
      {cudaErrorNotSupported, {"cudaErrorNotSupported", "operation not supported"}},
      {cudaErrorStreamCaptureUnsupported,
       {"cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"}},
      {cudaErrorStreamCaptureInvalidated,
       {"cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"}},
      {cudaErrorStreamCaptureMerge,
       {"cudaErrorStreamCaptureMerge", "operation would result in a merge of separate capture sequences"}},
      {cudaErrorStreamCaptureUnmatched,
       {"cudaErrorStreamCaptureUnmatched", "capture was not ended in the same stream as it began"}},
      {cudaErrorStreamCaptureUnjoined, {"cudaErrorStreamCaptureUnjoined", "capturing stream has unjoined work"}},
      {cudaErrorStreamCaptureIsolation,
       {"cudaErrorStreamCaptureIsolation", "dependency created on uncaptured work in another stream"}},
      {cudaErrorCapturedEvent,
       {"cudaErrorCapturedEvent", "operation not permitted on an event last recorded in a capturing stream"}},
      {cudaErrorStreamCaptureWrongThread,
       {"cudaErrorStreamCaptureWrongThread",
        "attempt to terminate a thread-local capture sequence from another thread"}},
  };
  const auto found = known.find(error);
  return found == known.end() ? Description{"cudaErrorUnknown", "unrecognized error code"} : found->second;
}

}  // namespace

void set_order(Order order) { current_order() = order; }
Order order() { return current_order(); }

cudaError_t result(cudaError_t error) {
  if (error != cudaSuccess && error != cudaErrorNotReady) last = error;
  return error;
}

void fail(cudaError_t error, const std::string& text) {
  const std::lock_guard lock(message_mutex);
  if (failed()) return;
  messages.push_back(fmt::format("{}: {}", describe(error).text, text));
  failure_ = error;
}

cudaError_t failure() { return failure_; }
bool failed() { return failure_ != cudaSuccess; }
void forget_failure() {
  failure_ = cudaSuccess;
  last = cudaSuccess;
}

int current_device() { return device; }

/// Whether devices reach each other's memory.
static bool peers() {
  const char* text = std::getenv("LOCKSTEP_EMULATOR_PEERS");
  return !text || std::atoi(text) != 0;
}

int devices() {
  const char* text = std::getenv("LOCKSTEP_EMULATOR_DEVICES");
  return text ? std::atoi(text) : 1;
}

}  // namespace emulator

using namespace emulator;

const char* cudaGetErrorName(cudaError_t error) { return describe(error).name; }
const char* cudaGetErrorString(cudaError_t error) {
  const std::lock_guard lock(message_mutex);
  return error != cudaSuccess && error == failure() ? messages.back().c_str() : describe(error).text;
}
cudaError_t cudaGetLastError() {
  const cudaError_t error = std::exchange(last, cudaSuccess);
  return failed() ? failure() : error;
}
cudaError_t cudaPeekAtLastError() { return failed() ? failure() : last; }

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) { return cudaRuntimeGetVersion(version); }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = devices();
  return result(*count > 0 ? cudaSuccess : cudaErrorNoDevice);
}
cudaError_t cudaGetDevice(int* index) {
  *index = device;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int index) {
  if (index < 0 || index >= devices()) return result(cudaErrorInvalidDevice);
  device = index;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int index) {
  if (index < 0 || index >= devices()) return result(cudaErrorInvalidDevice);
  *properties = {};
  fmt::format_to_n(properties->name, sizeof(properties->name) - 1, "emulated");
  size_t free = 0;
  static_cast<void>(cudaMemGetInfo(&free, &properties->totalGlobalMem));
  const auto attribute = [&](cudaDeviceAttr which) {
    int value = 0;
    static_cast<void>(cudaDeviceGetAttribute(&value, which, index));
    return value;
  };
  properties->sharedMemPerBlock = static_cast<size_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlock));
  properties->sharedMemPerBlockOptin = static_cast<size_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin));
  properties->major = attribute(cudaDevAttrComputeCapabilityMajor);
  properties->minor = attribute(cudaDevAttrComputeCapabilityMinor);
  properties->multiProcessorCount = attribute(cudaDevAttrMultiProcessorCount);
  properties->warpSize = warpSize;
  properties->maxThreadsPerBlock = attribute(cudaDevAttrMaxThreadsPerBlock);
  properties->maxThreadsPerMultiProcessor = attribute(cudaDevAttrMaxThreadsPerMultiProcessor);
  properties->pciBusID = attribute(cudaDevAttrPciBusId);
  properties->l2CacheSize = attribute(cudaDevAttrL2CacheSize);
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int index) {
  if (index < 0 || index >= devices()) return result(cudaErrorInvalidDevice);
  static const std::map<cudaDeviceAttr, int> values{
      {cudaDevAttrMaxThreadsPerBlock, 1024},
      {cudaDevAttrMaxSharedMemoryPerBlock, 48 << 10},
      {cudaDevAttrWarpSize, warpSize},
      {cudaDevAttrMultiProcessorCount, 4},
      {cudaDevAttrL2CacheSize, 4 << 20},
      {cudaDevAttrMaxThreadsPerMultiProcessor, 2048},
      {cudaDevAttrComputeCapabilityMajor, 9},
      {cudaDevAttrComputeCapabilityMinor, 0},
      {cudaDevAttrMaxSharedMemoryPerBlockOptin, 227 << 10},
  };
  if (attribute == cudaDevAttrPciBusId) {
    *value = index + 1;
    return cudaSuccess;
  }
  const auto found = values.find(attribute);
  *value = found == values.end() ? 0 : found->second;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char* id, int length, int index) {
  if (index < 0 || index >= devices() || length < 13) return result(cudaErrorInvalidDevice);
  *fmt::format_to_n(id, length - 1, "0000:{:02x}:00.0", index + 1).out = '\0';
  return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}

cudaError_t cudaDeviceCanAccessPeer(int* access, int a, int b) {
  if (a < 0 || a >= devices() || b < 0 || b >= devices()) return result(cudaErrorInvalidDevice);
  *access = a != b && peers();
  return cudaSuccess;
}
cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned) {
  if (peer < 0 || peer >= devices() || peer == device || !peers()) return result(cudaErrorInvalidDevice);
  thread_local std::set<std::pair<int, int>> enabled;
  return result(enabled.emplace(device, peer).second ? cudaSuccess : cudaErrorPeerAccessAlreadyEnabled);
}
cudaError_t cudaDeviceGetP2PAttribute(int* value, cudaDeviceP2PAttr attribute, int a, int b) {
  if (a < 0 || a >= devices() || b < 0 || b >= devices() || a == b) return result(cudaErrorInvalidDevice);
  *value = attribute == cudaDevP2PAttrAccessSupported && peers();
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute, int value) {
  return result(kernel && value >= 0 ? cudaSuccess : cudaErrorInvalidValue);
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* kernel, int threads, size_t) {
  if (!kernel || threads <= 0 || threads > 1024) return result(cudaErrorInvalidValue);
  *blocks = 2048 / threads;
  return cudaSuccess;
}
