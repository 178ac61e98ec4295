// Which GPU each rank computes on, from what all ranks see: launchers show every rank all GPUs of its machine, or one
// each, or lists in another order for each. Any thread may call, but for gather_gpus.
#pragma once

#include <string>
#include <vector>

#include "launch/host/runtime.h"

namespace lockstep {

/// The GPUs that CUDA shows a rank.
struct SeenGpus {
  std::string machine;           // the same for all its containers
  std::string host;              // for people
  std::vector<std::string> pci;  // "0000:18:00.0", by CUDA's index; parts of one GPU (MIG) have the same
};

/// Of all ranks, which call together.
std::vector<SeenGpus> gather_gpus(RankContext& rank);

struct GpuChoice {
  int index = -1;   // as CUDA counts on that rank; -1: it sees none
  int sharing = 0;  // ranks on the GPU, this one among them
};

/// By rank: a GPU of its own where there are enough for that, else the fewest ranks a GPU. Ranks that see the same list
/// take its GPUs in turn.
std::vector<GpuChoice> share_gpus(const std::vector<SeenGpus>& ranks);

/// Throws InputError that names two ranks where only some of them see a GPU.
void check_all_see_gpus(const std::vector<SeenGpus>& ranks);

/// Throws InputError with what to do instead where ranks share a GPU.
void check_own_gpus(const std::vector<SeenGpus>& ranks, const std::vector<GpuChoice>& choices);

}  // namespace lockstep
