// A device made of host memory: what a communicator does with a device's buffers can be tested without one. Its
// addresses are no host addresses, so that a host that touches them crashes; its streams run beside the caller.
// Each stream is used by one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/backend.h"
#include "core/cpu/streams.h"
#include "core/error.h"

namespace lockstep::testing {

/// Set in a device's address: none of the host's has it.
inline constexpr uintptr_t device_bit = uintptr_t{1} << 62;

template <class T>
T* on_host(T* address) {
  return reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(address) & ~device_bit);
}

enum class HostWork : unsigned char { allowed, refused };

class FakeStream final : public Stream {
 public:
  explicit FakeStream(HostWork host_work) : host_work_(host_work) {}
  bool on_device() const override { return true; }
  void enqueue(std::function<void()> work) override {
    if (host_work_ == HostWork::refused) throw Error("host work on a device's stream, expected none");
    worker_.enqueue(std::move(work));
  }
  void copy(std::byte* to, const std::byte* from, size_t bytes) override {
    worker_.copy(on_host(to), on_host(from), bytes);
  }
  void accumulate(float* to, const float* from, size_t n) override {
    worker_.accumulate(on_host(to), on_host(from), n);
  }
  void copy_rows(std::byte* to, size_t to_pitch, const std::byte* from, size_t from_pitch, size_t bytes,
                 size_t rows) override {
    worker_.copy_rows(on_host(to), to_pitch, on_host(from), from_pitch, bytes, rows);
  }
  void accumulate_rows(DType dtype, std::byte* to, size_t to_pitch, const std::byte* from, size_t n,
                       size_t rows) override {
    worker_.accumulate_rows(dtype, on_host(to), to_pitch, on_host(from), n, rows);
  }
  void zero(std::byte* to, size_t bytes) override { worker_.zero(on_host(to), bytes); }
  void gather(std::byte* to, const std::byte* from, std::span<const int32_t> rows, size_t row_bytes) override {
    worker_.gather(on_host(to), on_host(from), {on_host(rows.data()), rows.size()}, row_bytes);
  }
  std::unique_ptr<Event> event() override { return worker_.event(); }
  void record(Event& event) override { worker_.record(event); }
  void wait(Event& event) override { worker_.wait(event); }
  void synchronize() override { worker_.synchronize(); }

 private:
  HostWork host_work_;
  WorkerStream worker_;
};

class FakeDevice final : public Backend {
 public:
  explicit FakeDevice(HostWork host_work) : host_work_(host_work) {}
  std::string name() const override { return "fake device"; }
  std::unique_ptr<Stream> compute_stream() override { return std::make_unique<FakeStream>(host_work_); }
  std::unique_ptr<Stream> side_stream() override { return std::make_unique<FakeStream>(host_work_); }
  std::byte* allocate(size_t bytes) override {
    return reinterpret_cast<std::byte*>(reinterpret_cast<uintptr_t>(host_->allocate(bytes)) | device_bit);
  }
  void release(std::byte* memory) noexcept override { host_->release(on_host(memory)); }
  std::byte* allocate_host(size_t bytes) override { return host_->allocate(bytes); }
  void release_host(std::byte* memory) noexcept override { host_->release(memory); }
  void copy(std::byte* to, const std::byte* from, size_t bytes) override {
    host_->copy(on_host(to), on_host(from), bytes);
  }

 private:
  HostWork host_work_;
  std::unique_ptr<Backend> host_ = make_cpu_backend(1);
};

}  // namespace lockstep::testing
