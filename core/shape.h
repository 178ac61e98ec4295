// Dimensions of a tensor, dense and channels-last ([N,H,W,C] for images). A value type: copy it freely.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace lockstep {

class Shape {
 public:
  static constexpr int max_rank = 6;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims);
  explicit Shape(std::span<const int64_t> dims);

  int rank() const { return rank_; }
  /// Dimension i; negative i counts from the last one. Throws Error outside the rank.
  int64_t operator[](int i) const { return dims_[index(i)]; }
  int64_t& operator[](int i) { return dims_[index(i)]; }
  /// Product of all dimensions; 1 for a scalar. Throws InputError where it does not fit into 64 bits.
  int64_t elements() const;
  std::span<const int64_t> dims() const { return {dims_.data(), static_cast<size_t>(rank_)}; }
  /// "[32, 28, 28, 1]"
  std::string str() const;

  bool operator==(const Shape&) const = default;

 private:
  size_t index(int i) const;

  std::array<int64_t, max_rank> dims_{};
  int rank_ = 0;
};

}  // namespace lockstep
