#include "launch/host/gpus.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <utility>

#include "core/error.h"
#include "launch/backends/backends.h"
#include "parallel/comm/gather.h"
#include "parallel/comm/machine.h"

namespace lockstep {

namespace {

using Gpu = std::pair<std::string, std::string>;  // machine, PCI id

/// Ranks placed one after another on GPUs that hold `most` ranks at most; those before move where that helps.
class Places {
 public:
  explicit Places(const std::vector<SeenGpus>& ranks) : ranks_(ranks), choices_(ranks.size()) {}

  std::vector<GpuChoice> all() {
    std::map<std::string, size_t> most;  // by machine
    for (size_t rank = 0; rank < ranks_.size(); ++rank) {
      if (ranks_[rank].pci.empty()) continue;
      most_ = std::max<size_t>(1, most[ranks_[rank].machine]);
      for (std::set<Gpu> tried; !place(rank, tried); tried.clear()) ++most_;
      most[ranks_[rank].machine] = most_;
    }
    for (const auto& [gpu, holders] : holders_)
      for (const size_t rank : holders) choices_[rank].sharing = static_cast<int>(holders.size());
    return choices_;
  }

 private:
  Gpu gpu(size_t rank, size_t index) const { return {ranks_[rank].machine, ranks_[rank].pci[index]}; }

  /// The rank's GPUs, the one first that its place among those with the same list points to.
  std::vector<size_t> order(size_t rank) const {
    const SeenGpus& own = ranks_[rank];
    const auto before = std::count_if(ranks_.begin(), ranks_.begin() + static_cast<ptrdiff_t>(rank),
                                      [&](const SeenGpus& r) { return r.machine == own.machine && r.pci == own.pci; });
    std::vector<size_t> indices(own.pci.size());
    for (size_t k = 0; k < indices.size(); ++k) indices[k] = (static_cast<size_t>(before) + k) % indices.size();
    return indices;
  }

  bool place(size_t rank, std::set<Gpu>& tried) {
    const auto indices = order(rank);
    const auto take = [&](size_t index) {
      choices_[rank].index = static_cast<int>(index);
      return true;
    };
    for (const size_t index : indices) {
      auto& holders = holders_[gpu(rank, index)];
      if (holders.size() >= most_) continue;
      holders.push_back(rank);
      return take(index);
    }
    for (const size_t index : indices) {
      if (!tried.insert(gpu(rank, index)).second) continue;
      for (size_t& holder : holders_[gpu(rank, index)]) {
        if (!place(holder, tried)) continue;
        holder = rank;
        return take(index);
      }
    }
    return false;
  }

  const std::vector<SeenGpus>& ranks_;
  std::vector<GpuChoice> choices_;
  std::map<Gpu, std::vector<size_t>> holders_;
  size_t most_ = 1;
};

}  // namespace

std::vector<SeenGpus> gather_gpus(RankContext& rank) {
  std::vector<std::string> words{this_machine(), rank.host};
  for (const DeviceInfo& device : gpus()) words.push_back(device.pci);
  std::vector<SeenGpus> all;
  for (const std::string& text : gather_texts(rank.comm, fmt::format("{}", fmt::join(words, "\n")))) {
    std::istringstream lines(text);
    SeenGpus& seen = all.emplace_back();
    std::getline(lines, seen.machine);
    std::getline(lines, seen.host);
    for (std::string pci; std::getline(lines, pci);) seen.pci.push_back(pci);
  }
  return all;
}

std::vector<GpuChoice> share_gpus(const std::vector<SeenGpus>& ranks) { return Places(ranks).all(); }

void check_all_see_gpus(const std::vector<SeenGpus>& ranks) {
  const auto none = std::ranges::find_if(ranks, &std::vector<std::string>::empty, &SeenGpus::pci);
  const auto some = std::ranges::find_if_not(ranks, &std::vector<std::string>::empty, &SeenGpus::pci);
  if (none == ranks.end() || some == ranks.end()) return;
  throw InputError("rank {} on {} sees no GPU, but rank {} on {} does: expected one for every rank, or --backend cpu",
                   none - ranks.begin(), none->host, some - ranks.begin(), some->host);
}

void check_own_gpus(const std::vector<SeenGpus>& ranks, const std::vector<GpuChoice>& choices) {
  const auto shared = std::ranges::find_if(choices, [](const GpuChoice& choice) { return choice.sharing > 1; });
  if (shared == choices.end()) return;
  const SeenGpus& at = ranks[static_cast<size_t>(shared - choices.begin())];
  int here = 0;
  std::set<std::string> gpus;
  for (const SeenGpus& rank : ranks) {
    if (rank.machine != at.machine) continue;
    ++here;
    gpus.insert(rank.pci.begin(), rank.pci.end());
  }
  throw InputError(
      "{} ranks on {}, which see {} GPU{} ({}): start a rank a GPU there, and let each see its own; or let ranks share "
      "one: as threads of one process without mpirun (--ranks {} --comm local), or over MPI (--comm mpi)",
      here, at.host, gpus.size(), gpus.size() == 1 ? "" : "s", fmt::join(gpus, ", "), here);
}

}  // namespace lockstep
