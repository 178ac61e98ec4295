#include "parallel/mesh/mesh.h"

#include <bit>

#include "core/error.h"

namespace lockstep {

void check_ranks(const Strategy& strategy, int ranks) {
  const int64_t together = strategy.ranks_per_lane();
  if (together == 0) throw InputError("stage=auto has no size yet, expected it resolved by the number of ranks");
  std::string axes;
  for (size_t axis = 1; axis < strategy.mesh.size(); ++axis)
    axes += fmt::format("{}{}={}", axes.empty() ? "" : ", ", strategy.mesh[axis].name, strategy.mesh[axis].size);
  if (strategy.data_ranks && *strategy.data_ranks * together != ranks)
    throw InputError("strategy data={}{}{} has {} places, but there are {} ranks", *strategy.data_ranks,
                     axes.empty() ? "" : ", ", axes, *strategy.data_ranks * together, ranks);
  if (const int64_t sharers = ranks / together;
      strategy.shard_optimizer && !std::has_single_bit(static_cast<uint64_t>(sharers)) && ranks % together == 0)
    throw InputError("a sharded optimizer is shared by {} ranks along 'data', expected a power of two", sharers);
  if (ranks % together != 0)
    throw InputError("strategy {} has {} places a lane, which does not divide {} ranks", axes, together, ranks);
}

Mesh::Mesh(const Strategy& strategy, Communicator& world) : strategy_(strategy), world_(world) {
  check_ranks(strategy, world.size());
  if (strategy.mesh.size() == 1 && !strategy.shard_optimizer) return;
  const auto together = static_cast<int>(strategy.ranks_per_lane());
  const auto places = coordinates();
  const auto split = [&](int color, int key) {
    axes_.push_back(world.split(color, key));
    sums_.push_back(world.split(color, key));
  };
  split(world.rank() % together, world.rank() / together);
  int stride = together;
  for (size_t axis = 1; axis < strategy.mesh.size(); ++axis) {
    stride /= static_cast<int>(strategy.mesh[axis].size);
    const auto place = static_cast<int>(places[axis - 1]);
    split(world.rank() - place * stride, place);
  }
}

void Mesh::watch(Stream& stream) const {
  world_.watch(stream);
  for (const auto* all : {&axes_, &sums_})
    for (const auto& axis : *all) axis->watch(stream);
}

void Mesh::check() const {
  world_.check();
  for (const auto* all : {&axes_, &sums_})
    for (const auto& axis : *all) axis->check();
}

std::vector<int64_t> Mesh::coordinates(int rank) const {
  std::vector<int64_t> places(strategy_.mesh.size() - 1);
  int64_t rest = rank;
  for (size_t axis = places.size(); axis > 0; --axis) {
    places[axis - 1] = rest % strategy_.mesh[axis].size;
    rest /= strategy_.mesh[axis].size;
  }
  return places;
}

}  // namespace lockstep
