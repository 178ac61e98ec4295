// A strategy: the mesh of ranks. How values lie on it follows from the placements of the inputs and the operators'
// rules.
#pragma once

#include <string>
#include <vector>

#include "core/error.h"

namespace lockstep {

struct Axis {
  std::string name;  // "data"
  int64_t size = 1;
};

struct Strategy {
  std::vector<Axis> mesh;
};

/// Data parallelism over the lanes: the mesh's one axis has a member for each lane, and each rank plays a run of
/// consecutive members.
inline Strategy data_parallel(int lanes) { return {{{"data", lanes}}}; }

/// What `--strategy` may say. Throws InputError with the nearest name.
inline void check_strategy(const std::string& name) {
  const std::vector<std::string> known{"data"};
  if (name != known[0]) throw unknown("strategy", name, known);
}

}  // namespace lockstep
