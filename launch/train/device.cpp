#include "launch/train/device.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <set>

#include "core/error.h"
#include "core/log.h"
#include "launch/files/durable.h"
#include "launch/host/binding.h"
#include "launch/host/gpus.h"
#include "parallel/comm/local.h"
#include "parallel/comm/staged.h"

namespace lockstep {

namespace {

/// The GPU of each rank. Threads of one process may share one, and so may processes that talk over MPI.
std::vector<GpuChoice> gpus_of(const std::vector<SeenGpus>& seen, CommChoice comm, bool distributed) {
  const std::vector<GpuChoice> choices = share_gpus(seen);
  const bool may_share =
      comm == CommChoice::local || comm == CommChoice::mpi || (!distributed && comm != CommChoice::nccl);
  if (!may_share) check_own_gpus(seen, choices);
  return choices;
}

void choose_comm(Device& device, CommChoice choice, RankContext& rank, bool distributed, bool one_each) {
  if (choice == CommChoice::local && distributed)
    throw InputError("--comm local: the ranks were started by a launcher, expected mpi or nccl");
  if (choice == CommChoice::mpi && !distributed)
    throw InputError("--comm mpi: the ranks are threads of one process, expected local or nccl; or start with mpirun");
  if (choice == CommChoice::automatic && rank.comm.size() > 1 && one_each && device.kind->communicates())
    choice = CommChoice::nccl;
  if (rank.comm.size() == 1) {
    device.own_comm = std::move(make_local(1)[0]);
  } else if (choice == CommChoice::nccl) {
    device.own_comm = device.kind->communicator(rank.comm);
    device.exchange = "nccl";
  } else if (distributed) {
    device.own_comm = make_staged(rank.comm, *device.backend);
  }
}

/// Threads of one process read each other's memory.
void enable_peers(const BackendKind& kind, int gpu, const std::vector<GpuChoice>& threads) {
  std::set<int> peers;
  for (const GpuChoice& other : threads) peers.insert(other.index);
  peers.erase(gpu);
  for (const int peer : peers) {
    if (kind.link(gpu, peer) == DeviceLink::none)
      throw InputError(
          "ranks as threads of one process read each other's memory, but CUDA device {} cannot reach that of device "
          "{}: "
          "use NCCL (--comm nccl), or start the ranks with mpirun",
          gpu, peer);
    kind.enable_peer(peer);
  }
}

/// Where fast mode keeps its choices; empty where the environment names no folder.
std::filesystem::path timed_choices(const Device& device) {
  const char *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
  if (!cache && !home) return {};
  std::string name = computes_with(device);
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '.') c = '-';
  return (cache ? std::filesystem::path(cache) : std::filesystem::path(home) / ".cache") / "lockstep" /
         (name + ".json");
}

}  // namespace

Device make_device(const DeviceOptions& options, RankContext& rank, bool distributed) {
  Device device;
  device.exchange = distributed ? "mpi" : "local";
  std::vector<SeenGpus> seen;
  if (options.backend != BackendChoice::cpu) check_all_see_gpus(seen = gather_gpus(rank));
  device.kind = &backend_of(options.backend).kind();
  if (!uses_gpus(options.backend)) {
    device.backend = device.kind->make({.threads = options.threads});
    device.kernels = device.kind->kernels(*device.backend, {}, nullptr);
    return device;
  }
  const auto choices = gpus_of(seen, options.comm, distributed);
  const GpuChoice own = choices[static_cast<size_t>(rank.comm.rank())];
  const DeviceInfo gpu = device.kind->devices()[static_cast<size_t>(own.index)];
  log().debug("rank {}: {}", rank.comm.rank(), bind_near(gpu));
  device.backend = device.kind->make({.device = gpu.index});
  device.sharing = own.sharing;
  device.engines = std::make_shared<EngineChoices>();
  const bool fast = options.step.numerics == Numerics::fast;
  const std::filesystem::path file = options.engines.empty() && fast ? timed_choices(device) : options.engines;
  if (!file.empty() && (!options.engines.empty() || std::filesystem::exists(file))) device.engines->read(file);
  device.kernels = device.kind->kernels(
      *device.backend, {.deterministic = !fast, .tf32 = options.step.precision == Precision::tf32}, device.engines);
  const bool one_each = std::ranges::all_of(choices, [](const GpuChoice& choice) { return choice.sharing == 1; });
  choose_comm(device, options.comm, rank, distributed, one_each);
  if (!device.own_comm) enable_peers(*device.kind, gpu.index, choices);
  return device;
}

void keep_timed_choices(const Device& device, Numerics numerics) noexcept {
  if (!device.engines || numerics != Numerics::fast) return;
  try {
    const std::filesystem::path file = timed_choices(device);
    if (file.empty()) return;
    std::filesystem::create_directories(file.parent_path());
    write_atomically(file, device.engines->json());
  } catch (const std::exception& error) {
    log().warn("the timed choices of algorithms are not kept: {}", error.what());
  }
}

std::string computes_with(const Device& device) {
  if (!device.engines) return device.kind->computes_with();
  // Without the index: ranks of a host differ in that.
  const std::string name = device.backend->name();
  return fmt::format("{}, {}", name.substr(name.find('(')), device.kind->computes_with());
}

}  // namespace lockstep
