// Memory of the devices: an address book, so that copies can be checked, and contents that show what was never written.
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>

#include "device.h"

namespace emulator {

namespace {

constexpr size_t alignment = 256;
constexpr int poison = 0xFF;  // NaN in every floating-point type
// What was freed is kept this long, so that work which still comes finds poison. Not longer: all of it is closed to the
// host and opened again, which takes the longer, the more there is.
constexpr size_t most_quarantined = size_t{16} << 20;

struct Allocation {
  size_t bytes;
  int device;  // -1: pinned host memory
  bool live;
};

struct Book {
  std::mutex mutex;
  std::map<uintptr_t, Allocation> at;
  std::map<int, size_t> used;
  std::deque<uintptr_t> freed;
  size_t quarantined = 0;
};

Book& book() {
  static auto* book = new Book;
  return *book;
}

uintptr_t address(const void* p) { return reinterpret_cast<uintptr_t>(p); }

size_t total_memory() {
  const char* text = std::getenv("LOCKSTEP_EMULATOR_MEMORY");
  return text ? std::strtoull(text, nullptr, 10) : size_t{1} << 30;
}

cudaError_t allocate(void** memory, size_t bytes, int device) {
  if (const cudaError_t error = allowed_outside_capture()) return error;
  if (devices() == 0) return cudaErrorNoDevice;
  if (!memory) return cudaErrorInvalidValue;
  *memory = nullptr;
  if (bytes == 0) return cudaSuccess;
  Book& all = book();
  const std::lock_guard lock(all.mutex);
  if (device >= 0 && (bytes > total_memory() || all.used[device] + bytes > total_memory()))
    return cudaErrorMemoryAllocation;
  if (bytes > SIZE_MAX - alignment) return cudaErrorMemoryAllocation;
  void* got = device < 0 ? std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment) : take(bytes);
  if (!got) return cudaErrorMemoryAllocation;
  std::memset(inside(got), poison, bytes);
  if (device >= 0) all.used[device] += bytes;
  all.at[address(got)] = {bytes, device, true};
  *memory = got;
  return cudaSuccess;
}

cudaError_t release(void* memory, bool host) {
  if (const cudaError_t error = allowed_outside_capture()) return error;
  if (!memory) return cudaSuccess;
  Book& all = book();
  const std::lock_guard lock(all.mutex);
  const auto found = all.at.find(address(memory));
  if (found == all.at.end() || !found->second.live || (found->second.device < 0) != host) return cudaErrorInvalidValue;
  Allocation& allocation = found->second;
  std::memset(inside(memory), poison, allocation.bytes);
  allocation.live = false;
  if (!host) all.used[allocation.device] -= allocation.bytes;
  all.quarantined += allocation.bytes;
  all.freed.push_back(found->first);
  while (all.quarantined > most_quarantined) {
    const auto oldest = all.at.find(all.freed.front());
    all.freed.pop_front();
    all.quarantined -= oldest->second.bytes;
    if (oldest->second.device < 0)
      std::free(reinterpret_cast<void*>(oldest->first));
    else
      give_back(reinterpret_cast<void*>(oldest->first), oldest->second.bytes);
    all.at.erase(oldest);
  }
  return cudaSuccess;
}

Place target(cudaMemcpyKind kind) {
  if (kind == cudaMemcpyDefault) return Place::any;
  return kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice ? Place::device : Place::host;
}
Place source(cudaMemcpyKind kind) {
  if (kind == cudaMemcpyDefault) return Place::any;
  return kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice ? Place::device : Place::host;
}

}  // namespace

bool accessible(const void* at, size_t bytes, Place place) {
  if (!at && bytes) return false;
  Book& all = book();
  const std::lock_guard lock(all.mutex);
  const uintptr_t first = address(at);
  auto next = all.at.upper_bound(first);
  if (next != all.at.end() && next->first < first + bytes) return false;  // begins before an allocation, ends inside
  if (next == all.at.begin()) return place != Place::device;
  const auto& [begin, allocation] = *--next;
  if (first >= begin + allocation.bytes) return place != Place::device;
  return allocation.live && first + bytes <= begin + allocation.bytes &&
         (place == Place::any || (place == Place::device) == (allocation.device >= 0));
}

}  // namespace emulator

using namespace emulator;

cudaError_t cudaMalloc(void** memory, size_t bytes) { return result(allocate(memory, bytes, current_device())); }
cudaError_t cudaFree(void* memory) { return result(release(memory, false)); }
cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) { return result(allocate(memory, bytes, -1)); }
cudaError_t cudaMallocHost(void** memory, size_t bytes) { return cudaHostAlloc(memory, bytes, cudaHostAllocDefault); }
cudaError_t cudaFreeHost(void* memory) { return result(release(memory, true)); }

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  if (failed()) return result(failure());
  Book& all = book();
  const std::lock_guard lock(all.mutex);
  *total = total_memory();
  const size_t used = all.used[current_device()];
  *free = *total > used ? *total - used : 0;
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault) return result(cudaErrorInvalidMemcpyDirection);
  if (!accessible(to, bytes, target(kind)) || !accessible(from, bytes, source(kind)))
    return result(cudaErrorInvalidValue);
  return result(enqueue(
      stream, [=] { std::memmove(inside(to), inside(from), bytes); }, Kind::copy));
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  if (width > to_pitch || width > from_pitch) return result(cudaErrorInvalidValue);
  for (size_t row = 0; row < height; ++row)
    if (const cudaError_t error =
            cudaMemcpyAsync(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch,
                            width, kind, stream))
      return error;
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  if (!accessible(to, bytes, Place::any)) return result(cudaErrorInvalidValue);
  return result(enqueue(
      stream, [=] { std::memset(inside(to), value, bytes); }, Kind::copy));
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  if (const cudaError_t error = allowed_outside_capture()) return result(error);
  if (const cudaError_t error = cudaMemcpyAsync(to, from, bytes, kind, nullptr)) return error;
  return cudaStreamSynchronize(nullptr);
}

cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  if (const cudaError_t error = allowed_outside_capture()) return result(error);
  if (const cudaError_t error = cudaMemsetAsync(to, value, bytes, nullptr)) return error;
  return cudaStreamSynchronize(nullptr);
}
