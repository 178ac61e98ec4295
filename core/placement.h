// How one value lies along one axis of the mesh of ranks, and what an operator can do with values so placed.
// Plain data: operators state their rules, the passes of parallel/ choose among them.
#pragma once

#include <string>
#include <vector>

namespace lockstep {

struct Placement {
  enum class Kind : unsigned char {
    Replicate,  // every member holds the whole value
    Shard,      // each member holds an equal slice of dimension `dim`
    Partial,    // each member holds a term; the value is their sum
  };

  Kind kind = Kind::Replicate;
  int dim = -1;

  bool operator==(const Placement&) const = default;
  std::string str() const {
    switch (kind) {
      case Kind::Replicate:
        return "R";
      case Kind::Shard:
        return "S(" + std::to_string(dim) + ")";
      case Kind::Partial:
        return "P";
    }
    return "?";
  }
};

inline constexpr Placement replicate{};
inline constexpr Placement partial{Placement::Kind::Partial, -1};
constexpr Placement shard(int dim) { return {Placement::Kind::Shard, dim}; }

/// "With inputs placed so along an axis, my local kernel, run unchanged on each member, yields outputs placed so."
struct Rule {
  std::vector<Placement> in, out;
};

}  // namespace lockstep
