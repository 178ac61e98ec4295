// One owner for every C handle: created by the caller, destroyed once, moved but never copied.
#pragma once

#include <utility>

namespace lockstep {

/// `Destroy` is the C function that frees a T; its result is ignored, since a destructor cannot report it.
template <class T, auto Destroy>
class Handle {
 public:
  Handle() = default;
  explicit Handle(T handle) : handle_(handle) {}
  Handle(Handle&& other) noexcept : handle_(std::exchange(other.handle_, T{})) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Handle() {
    if (handle_ != T{}) static_cast<void>(Destroy(handle_));
  }

  T get() const { return handle_; }
  explicit operator bool() const { return handle_ != T{}; }

 private:
  T handle_{};
};

}  // namespace lockstep
