// What the ranks of a run stand on: hosts, cores, GPUs and links, and how fast data moves there, measured in a moment.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/host/runtime.h"

namespace lockstep {

/// A GPU as one rank sees it.
struct GpuReport {
  int index = 0;
  std::string name = {}, pci = {};
  uint64_t memory = 0;                  // bytes
  std::string near = {};                // cores, "0-31"; empty where hwloc does not know
  std::vector<std::string> links = {};  // to each of the rank's GPUs, by index: "self", "NVLink", "PCIe", "none"
};

/// Rates of one GPU, in bytes a second; 0: not measured.
struct CardRates {
  std::string pci = {}, next = {};                 // `next`: the GPU that `to_next` goes to; empty where there is none
  std::string failure = {};                        // what was not measured, and why; empty where all was
  double inside = 0;                               // read and written
  double from_host = 0, to_host = 0, to_next = 0;  // host memory is pinned
};

/// What two ranks exchange in both directions at once, over their communicator and in host memory.
struct PairRates {
  int rank = 0, peer = 0;
  double bandwidth = 0;  // bytes a second, each way
  double latency = 0;    // seconds
};

struct RankReport {
  int rank = 0, local_rank = 0;
  std::string host = {}, cores = {}, numa_nodes = {}, comm = {};
  std::string cpu = {};  // the host's, as all that follows up to `gpu_status`
  int packages = 0, physical_cores = 0, hardware_threads = 0, memory_nodes = 0;
  uint64_t memory = 0;          // bytes
  std::string gpu_status = {};  // "CUDA: 13.0, 2 devices"
  std::vector<GpuReport> gpus = {};
  int gpu = -1;              // index of its own; -1: none
  std::string binding = {};  // what was done to be near it

  double copy_alone = 0;     // bytes a second, read and written, on the host's first rank while the others wait
  double copy_together = 0;  // while all ranks of all hosts copy
  std::vector<PairRates> pairs = {};
  std::vector<CardRates> cards = {};  // measured by this rank
};

constexpr size_t exchanged_bytes = size_t{16} << 20;

/// Of all ranks, the same on every rank. All ranks call together; their threads are bound near their GPUs. Takes below
/// three seconds, but for the start of GPUs and for networks that take long to move 16 MiB.
std::vector<RankReport> survey(RankContext& rank);

/// One GPU of a host, and who measures it.
struct Card {
  std::string pci = {}, name = {}, next = {};  // `next`: as in CardRates, where its rank sees both
  int rank = 0, index = 0, next_index = -1;
};

/// The GPUs that the ranks on `host` see, each once, shared out among the ranks: to its own where it is one's.
std::vector<Card> cards_of(const std::vector<RankReport>& ranks, const std::string& host);

/// "NVLink", "PCIe", "none", "self", or "?" where no rank sees both.
std::string link_between(const std::vector<RankReport>& ranks, const std::string& host, const Card& a, const Card& b);

/// For people. `ranks` as survey returns them, by rank.
std::string describe(const std::vector<RankReport>& ranks);

}  // namespace lockstep
