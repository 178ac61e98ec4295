// Where device memory lies: addresses of its own, which a program may touch only while a stream's work runs. A host
// that reads or writes there, as no host can on a device, ends with a message.
#include <sanitizer/asan_interface.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <map>
#include <string_view>

#include "device.h"

namespace emulator {

namespace {

constexpr size_t reserved = size_t{64} << 30;  // addresses, not memory
constexpr size_t page = 4096;
constexpr size_t gap = 256;  // behind every allocation; with AddressSanitizer nobody may touch it

struct Region {
  std::byte* base = nullptr;
  std::mutex mutex;
  std::map<size_t, size_t> free;  // by offset; neighbours are joined
  size_t used = 0;                // bytes from `base` on that were ever given out, in whole pages
  int open = 0;                   // DeviceAccess objects that live
};

Region* region = nullptr;

size_t rounded(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

void protect_locked(Region& all) {
  if (all.used) mprotect(all.base, all.used, all.open ? PROT_READ | PROT_WRITE : PROT_NONE);
}

/// The access happens again when this returns, and ends the program as it would have.
void tell(int signal, siginfo_t* about, void*) {
  std::signal(signal, SIG_DFL);
  const auto* at = static_cast<const std::byte*>(about->si_addr);
  if (at < region->base || at >= region->base + reserved) return;
  constexpr std::string_view text = "the host touched device memory outside of a stream's work\n";
  static_cast<void>(!write(STDERR_FILENO, text.data(), text.size()));
}

Region& made() {
  static std::once_flag once;
  std::call_once(once, [] {
    region = new Region;
    void* base = mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return;
    region->base = static_cast<std::byte*>(base);
    region->free[0] = reserved;
    struct sigaction action {};
    action.sa_sigaction = tell;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, nullptr);
  });
  return *region;
}

}  // namespace

DeviceAccess::DeviceAccess() {
  Region& all = made();
  const std::lock_guard lock(all.mutex);
  if (all.open++ == 0) protect_locked(all);
}

DeviceAccess::~DeviceAccess() {
  Region& all = made();
  const std::lock_guard lock(all.mutex);
  if (--all.open == 0) protect_locked(all);
}

void* take(size_t bytes) {
  Region& all = made();
  const std::lock_guard lock(all.mutex);
  const size_t whole = rounded(bytes, gap) + gap;
  for (auto place = all.free.begin(); place != all.free.end(); ++place) {
    const auto [offset, room] = *place;
    if (room < whole) continue;
    all.free.erase(place);
    if (room > whole) all.free[offset + whole] = room - whole;
    if (const size_t end = rounded(offset + whole, page); end > all.used) {
      all.used = end;
      protect_locked(all);
    }
    ASAN_UNPOISON_MEMORY_REGION(all.base + offset, bytes);
    ASAN_POISON_MEMORY_REGION(all.base + offset + bytes, whole - bytes);
    return all.base + offset;
  }
  return nullptr;
}

void give_back(void* memory, size_t bytes) {
  Region& all = made();
  const std::lock_guard lock(all.mutex);
  size_t offset = static_cast<size_t>(static_cast<std::byte*>(memory) - all.base), whole = rounded(bytes, gap) + gap;
  ASAN_POISON_MEMORY_REGION(memory, bytes);
  if (const size_t first = rounded(offset, page), last = (offset + whole) / page * page; last > first)
    madvise(all.base + first, last - first, MADV_DONTNEED);
  auto next = all.free.upper_bound(offset);
  if (next != all.free.end() && next->first == offset + whole) {
    whole += next->second;
    next = all.free.erase(next);
  }
  if (next != all.free.begin())
    if (const auto before = std::prev(next); before->first + before->second == offset) {
      before->second += whole;
      return;
    }
  all.free[offset] = whole;
}

}  // namespace emulator
