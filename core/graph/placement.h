// How one value lies along one axis of the mesh of ranks, and what an operator can do with values so placed.
// Plain data: operators state their rules, the passes of parallel/ choose among them.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

namespace lockstep {

struct Placement {
  enum class Kind : unsigned char {
    replicate,  // every member holds the whole value
    shard,      // each member holds a slice of dimension `dim`; the slices are as equal as can be
    partial,    // each member holds a term; the value is their sum
    window,     // each member holds what its part of a sliding window's outputs sees of dimension `dim`; they overlap
    overlap,    // each member holds terms for such a window; the value is their sum
  };

  Kind kind = Kind::replicate;
  int dim = -1;

  bool operator==(const Placement&) const = default;
  std::string str() const {
    switch (kind) {
      case Kind::replicate:
        return "R";
      case Kind::shard:
        return "S(" + std::to_string(dim) + ")";
      case Kind::partial:
        return "P";
      case Kind::window:
        return "W(" + std::to_string(dim) + ")";
      case Kind::overlap:
        return "O(" + std::to_string(dim) + ")";
    }
    return "?";
  }
};

inline constexpr Placement replicate{};
inline constexpr Placement partial{Placement::Kind::partial, -1};
constexpr Placement shard(int dim) { return {Placement::Kind::shard, dim}; }
constexpr Placement window(int dim) { return {Placement::Kind::window, dim}; }
constexpr Placement overlap(int dim) { return {Placement::Kind::overlap, dim}; }

/// Elements [begin, end) of a dimension.
struct Interval {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
  auto operator<=>(const Interval&) const = default;
};
/// Of a dimension, by member of an axis; empty where a value is not cut there.
using Slices = std::vector<Interval>;

/// Shard's slices of `size` elements: they differ by one at most.
inline Slices even_slices(int64_t size, int64_t members) {
  Slices slices;
  for (int64_t i = 0; i < members; ++i) slices.push_back({i * size / members, (i + 1) * size / members});
  return slices;
}

/// What of an operator's work is divided among the members of an axis.
enum class Cut : unsigned char {
  batch,
  height,
  width,
  filters,   // outputs: each member computes some of the output's channels
  channels,  // inputs: each member computes a term of every output
};

/// "With inputs placed so along an axis, my local kernel yields outputs placed so." Dimension -1 is the last one.
/// Height and width are cut of images alone, which have four dimensions.
struct Rule {
  std::vector<Placement> in, out;
  Cut cut = Cut::batch;
  bool follows = true;  // taken where the inputs lie so; else only where a strategy names its cut
  int64_t units = 0;    // what is shared out comes in so many equal units: the members must divide it; 0: any may
};

}  // namespace lockstep
