// What lies around images under a sliding window. Plain data: any thread.
#pragma once

#include <array>
#include <cstdint>

namespace lockstep {

/// Height and width.
using Size2 = std::array<int64_t, 2>;

/// Keras' `valid` (none) and `same` (as much as ceil(size / stride) outputs need, the odd pixel after), or pixels for
/// each side, as other frameworks have them: `.padding = 1`, or `.padding = {{top, bottom}, {left, right}}`.
struct Padding {
  enum class Kind : unsigned char { valid, same, pixels };
  static const Padding valid, same;

  constexpr Padding(int64_t each_side) : Padding({each_side, each_side}, {each_side, each_side}) {}  // NOLINT: implicit
  constexpr Padding(Size2 top_bottom, Size2 left_right) : kind(Kind::pixels), rows(top_bottom), columns(left_right) {}
  bool operator==(const Padding&) const = default;

  Kind kind;
  Size2 rows{0, 0}, columns{0, 0};  // before and after the image; of `pixels` alone

 private:
  constexpr explicit Padding(Kind of) : kind(of) {}
};

inline constexpr Padding Padding::valid{Kind::valid};
inline constexpr Padding Padding::same{Kind::same};

}  // namespace lockstep
