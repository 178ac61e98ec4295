#include <cuda_runtime_api.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <random>
#include <vector>

#include "core/error.h"
#include "parallel/comm/gather.h"
#include "parallel/comm/machine.h"
#include "parallel/comm/nccl/guard.h"
#include "parallel/comm/nccl/nccl.h"

namespace lockstep {
namespace nccl {
namespace {

/// Where a rank computes.
struct Place {
  std::array<char, 64> machine{}, host{};
  std::array<char, 32> gpu{};
  uint64_t process = 0;

  bool same_gpu(const Place& other) const { return machine == other.machine && gpu == other.gpu; }
};

struct Offer {
  ncclUniqueId id{};
  Group* group = nullptr;
};

/// Tells processes apart; process ids do not, where containers have their own.
uint64_t process_mark() {
  static const uint64_t mark = [] {
    std::random_device random;
    return uint64_t{random()} << 32 | random();
  }();
  return mark;
}

Place this_place() {
  Place place;
  gethostname(place.host.data(), place.host.size() - 1);
  const std::string machine = this_machine();
  std::copy_n(machine.begin(), std::min(machine.size(), place.machine.size() - 1), place.machine.begin());
  int device = 0;
  cudaError_t status = cudaGetDevice(&device);
  if (status == cudaSuccess)
    status = cudaDeviceGetPCIBusId(place.gpu.data(), static_cast<int>(place.gpu.size()), device);
  if (status != cudaSuccess)
    throw Error("cudaDeviceGetPCIBusId failed on CUDA device {}: {}", device, cudaGetErrorString(status));
  place.process = process_mark();
  return place;
}

void check_gpus(const std::vector<Place>& places) {
  for (size_t second = 1; second < places.size(); ++second) {
    for (size_t first = 0; first < second; ++first) {
      if (!places[first].same_gpu(places[second])) continue;
      throw InputError(
          "ranks {} and {} have the same GPU {} on {}, but NCCL needs one for every rank: start fewer ranks there, or "
          "let ranks share it as threads of one process (--ranks {} --comm local)",
          first, second, places[first].gpu.data(), places[first].host.data(), places.size());
    }
  }
}

}  // namespace

Meeting meet(Communicator& control) {
  const auto places = gather(control, this_place());
  check_gpus(places);
  Offer offer;
  std::shared_ptr<Group> group = std::make_shared<Group>();
  if (control.rank() == 0) {
    offer.group = group.get();
    if (const ncclResult_t result = ncclGetUniqueId(&offer.id); result != ncclSuccess)
      throw Error("rank 0: ncclGetUniqueId failed: {} ({})", ncclGetErrorString(result), ncclGetLastError(nullptr));
  }
  InlineStream now;
  control.broadcast(reinterpret_cast<std::byte*>(&offer), sizeof offer, 0, now);
  // Threads of rank 0's process share its group: the address means something there.
  if (places[static_cast<size_t>(control.rank())].process == places[0].process) group = offer.group->shared_from_this();
  lockstep::meet(control);  // rank 0 keeps its group until all have it
  return {offer.id, std::move(group)};
}

std::chrono::seconds time_limit() {
  const char* text = std::getenv("LOCKSTEP_COMM_TIMEOUT");
  if (!text || *text == '\0') return std::chrono::seconds(600);
  const std::string_view given(text);
  int seconds = 0;
  const auto [end, error] = std::from_chars(given.data(), given.data() + given.size(), seconds);
  if (error != std::errc{} || end != given.data() + given.size() || seconds < 1)
    throw InputError("LOCKSTEP_COMM_TIMEOUT is '{}', expected a whole number of seconds from 1 on", given);
  return std::chrono::seconds(seconds);
}

}  // namespace nccl

std::string nccl_version() {
  int code = 0;
  if (ncclGetVersion(&code) != ncclSuccess) return "unknown";
  return fmt::format("{}.{}.{}", code / 10000, code / 100 % 100, code % 100);
}

}  // namespace lockstep
