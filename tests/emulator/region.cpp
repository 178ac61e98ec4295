// Where device memory lies: addresses of its own, which a program may touch only while kernels run. A host that reads
// or writes there, as no host can on a device, ends with a message. Copies take other addresses of the same memory.
#include <fcntl.h>
#include <sanitizer/asan_interface.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <map>
#include <string_view>

#include "device.h"

namespace emulator {

namespace {

constexpr size_t reserved = size_t{16} << 30;  // addresses, not memory
constexpr size_t page = 4096;
constexpr size_t gap = 256;  // after every allocation; with AddressSanitizer nobody may touch it

struct Region {
  std::byte *base = nullptr, *inside = nullptr;  // as kernels see it, and as the emulator does
  int file = -1;
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
  constexpr std::string_view text = "the host touched device memory while no kernel ran\n";
  static_cast<void>(!write(STDERR_FILENO, text.data(), text.size()));
}

Region& made() {
  static std::once_flag once;
  std::call_once(once, [] {
    region = new Region;
    region->file = memfd_create("emulated device", MFD_CLOEXEC);
    if (region->file < 0 || ftruncate(region->file, reserved) != 0) return;
    constexpr int flags = MAP_SHARED | MAP_NORESERVE;
    void* base = mmap(nullptr, reserved, PROT_NONE, flags, region->file, 0);
    void* inside = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, flags, region->file, 0);
    if (base == MAP_FAILED || inside == MAP_FAILED) return;
    region->base = static_cast<std::byte*>(base);
    region->inside = static_cast<std::byte*>(inside);
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

std::byte* inside(const void* at) {
  auto* byte = static_cast<std::byte*>(const_cast<void*>(at));
  return region && byte >= region->base && byte < region->base + reserved ? region->inside + (byte - region->base)
                                                                          : byte;
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
    fallocate(all.file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(first),
              static_cast<off_t>(last - first));
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
