// Memory for what a kernel is given, in which a step beyond it is seen. One thread.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/support/test_backend.h"

namespace lockstep::test {

/// So many bytes of the tested backend's memory between guard bytes, which are NaNs where they are read as floats.
class Guarded {
 public:
  enum class Fit : unsigned char {
    front,  // begins where a plan's values begin: at a multiple of 256 bytes
    back,   // the CPU's alone: ends where a page ends after which nothing may be read or written
  };

  Guarded(size_t bytes, Fit fit) : bytes_(bytes) {
    if (fit == Fit::back && !on_cuda()) {
      const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
      const size_t whole = (bytes + guard + page - 1) / page * page;
      pages_ = {whole + page};
      std::byte* const end = pages_.data + whole;
      if (mprotect(end, page, PROT_NONE) != 0) throw Error("mprotect: {}", std::strerror(errno));
      data_ = end - bytes;
      behind_ = 0;
    } else {
      arena_ = Arena(*test_backend().backend, bytes + 2 * guard);
      data_ = arena_.data() + guard;
      behind_ = guard;
    }
    const std::vector<std::byte> around = pattern();
    test_backend().backend->copy(data_ - guard, around.data(), guard);
    if (behind_ > 0) test_backend().backend->copy(data_ + bytes, around.data(), guard);
  }

  std::byte* data() const { return data_; }
  void put(std::span<const std::byte> from) {
    if (!from.empty()) test_backend().backend->copy(data_, from.data(), from.size());
  }
  void get(std::span<std::byte> to) const {
    if (!to.empty()) test_backend().backend->copy(to.data(), data_, to.size());
  }
  /// Where the first guard byte is that something wrote to: "byte 3 past its end"; empty where there is none.
  std::string trespass() const {
    const std::vector<std::byte> expected = pattern();
    std::vector<std::byte> found(guard);
    const auto changed = [&](const std::byte* from) {
      test_backend().backend->copy(found.data(), from, guard);
      for (size_t i = 0; i < guard; ++i)
        if (found[i] != expected[i]) return static_cast<int>(i);
      return -1;
    };
    if (const int at = changed(data_ - guard); at >= 0)
      return fmt::format("byte {} before its beginning", static_cast<int>(guard) - at);
    if (behind_ > 0)
      if (const int at = changed(data_ + bytes_); at >= 0) return fmt::format("byte {} past its end", at);
    return {};
  }

 private:
  static constexpr size_t guard = 512;
  static std::vector<std::byte> pattern() {
    constexpr unsigned char number[]{0xA5, 0xA5, 0xC5, 0xFF};
    std::vector<std::byte> bytes(guard);
    for (size_t i = 0; i < guard; ++i) bytes[i] = std::byte{number[i % 4]};
    return bytes;
  }

  struct Pages {
    Pages() = default;
    Pages(size_t size) : size(size) {  // NOLINT
      void* const at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (at == MAP_FAILED) throw Error("mmap of {} bytes: {}", size, std::strerror(errno));
      data = static_cast<std::byte*>(at);
    }
    Pages(Pages&& other) noexcept { *this = std::move(other); }
    Pages& operator=(Pages&& other) noexcept {
      std::swap(data, other.data);
      std::swap(size, other.size);
      return *this;
    }
    ~Pages() {
      if (data) munmap(data, size);
    }
    std::byte* data = nullptr;
    size_t size = 0;
  };

  size_t bytes_, behind_ = 0;
  Arena arena_;
  Pages pages_;
  std::byte* data_ = nullptr;
};

}  // namespace lockstep::test
