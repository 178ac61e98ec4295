// Floats in a backend's memory, for tests: filled from the host and read back.
#pragma once

#include <vector>

#include "core/backend.h"

namespace lockstep::testing {

class Buffer {
 public:
  Buffer(Backend& backend, const std::vector<float>& values)
      : backend_(backend), n_(values.size()), arena_(backend, n_ * sizeof(float)) {
    write(values);
  }

  void write(const std::vector<float>& values) {
    if (n_) backend_.copy(arena_.data(), reinterpret_cast<const std::byte*>(values.data()), n_ * sizeof(float));
  }
  /// What streams have written is there after they were synchronised.
  std::vector<float> read() const {
    std::vector<float> values(n_);
    if (n_) backend_.copy(reinterpret_cast<std::byte*>(values.data()), arena_.data(), n_ * sizeof(float));
    return values;
  }

  size_t size() const { return n_; }
  float* floats(size_t first = 0) { return reinterpret_cast<float*>(arena_.data()) + first; }
  std::byte* bytes(size_t first_float = 0) { return arena_.data() + first_float * sizeof(float); }

 private:
  Backend& backend_;
  size_t n_;
  Arena arena_;
};

}  // namespace lockstep::testing
