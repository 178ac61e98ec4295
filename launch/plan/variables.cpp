#include "launch/plan/variables.h"

#include <algorithm>
#include <array>

#include "core/cpu/streams.h"
#include "core/error.h"
#include "launch/files/sha256.h"
#include "parallel/comm/gather.h"

namespace lockstep {

namespace {

/// What the rank at `places` (along each axis but the first) holds of a variable.
Box box_of(const Shape& whole, const Shard& shard, const std::vector<int64_t>& places) {
  Box box;
  for (const int64_t size : whole.dims()) box.push_back({0, size});
  for (size_t axis = 1; axis < shard.slices.size(); ++axis)
    if (!shard.slices[axis].empty())
      box[static_cast<size_t>(shard.placement[axis].dim)] = shard.slices[axis][static_cast<size_t>(places[axis - 1])];
  if (shard.stage >= 0 && places[shard.stage_axis - 1] != shard.stage) box[0] = {};
  return box;
}

int64_t elements_of(const Box& box) {
  int64_t n = 1;
  for (const Interval& one : box) n *= one.size();
  return n;
}

/// body(offset in the whole, offset in the box, length) for each run of elements that lie together in both.
template <class Body>
void for_each_run(const Shape& whole, const Box& box, Body body) {
  const int last = whole.rank() - 1;
  const int64_t length = box[static_cast<size_t>(last)].size(), runs = length ? elements_of(box) / length : 0;
  for (int64_t run = 0; run < runs; ++run) {
    int64_t rest = run, offset = box[static_cast<size_t>(last)].begin, stride = whole[last];
    for (int d = last - 1; d >= 0; --d) {
      const Interval& one = box[static_cast<size_t>(d)];
      offset += (one.begin + rest % one.size()) * stride;
      rest /= one.size();
      stride *= whole[d];
    }
    body(offset, run * length, length);
  }
}

}  // namespace

VariableLayout::VariableLayout(const Network& network, Shards cut, size_t mesh_axes)
    : shards(std::move(cut)), axes(mesh_axes) {
  const auto& variables = network.variables();
  for (auto variable = variables.rbegin(); variable != variables.rend(); ++variable) {
    size_t& size = variable->trainable ? parameter_bytes : state_bytes;
    where[variable->name] = {variable->trainable ? Region::parameter : Region::state, size};
    size += aligned(static_cast<size_t>(local_shape(*variable).elements()) * sizeof(float));
  }
  where[std::string(loss_scale_name)] = {Region::state, state_bytes};
  state_bytes += aligned(sizeof(LossScale));
}

Placements VariableLayout::placements(const std::string& name) const {
  const auto found = shards.find(name);
  return found == shards.end() ? Placements(axes) : found->second.placement;
}

Shape VariableLayout::local_shape(const Variable& variable) const {
  const auto found = shards.find(variable.name);
  return found == shards.end() ? variable.shape : found->second.local;
}

VariableStore::VariableStore(const Network& network, Backend& backend, int slots, uint64_t seed, Shards shards,
                             const Mesh* mesh, Communicator* host)
    : backend_(backend),
      mesh_(mesh),
      host_(host),
      variables_(network.variables()),
      layout_(network, std::move(shards), mesh ? mesh->strategy().mesh.size() : 1),
      slots_(slots) {
  memory_.parameters = Arena(backend, layout_.parameter_bytes);
  memory_.states = Arena(backend, layout_.state_bytes);
  if (!mesh || !mesh->strategy().shard_optimizer)
    memory_.slots = Arena(backend, layout_.parameter_bytes * static_cast<size_t>(slots));
  for (size_t i = 0; i < variables_.size(); ++i) {
    const Variable& variable = variables_[i];
    std::vector<float> mine(static_cast<size_t>(layout_.local_shape(variable).elements()));
    const auto fill = [&](int64_t at, int64_t in_box, int64_t length) {
      variable.initializer.fill(std::span(mine).subspan(static_cast<size_t>(in_box), static_cast<size_t>(length)), seed,
                                static_cast<uint32_t>(i), at);
    };
    for_each_run(variable.shape, box_of(variable), fill);
    put(data(variable.name), mine);
  }
  set_loss_scale({});
}

std::byte* VariableStore::data(const std::string& name) const {
  const Location& location = layout_.where.at(name);
  const Arena& arena = location.region == Region::parameter ? memory_.parameters : memory_.states;
  return arena.data() + location.offset;
}

size_t slot_bytes(const std::vector<OwnedRange>& owned) {
  return owned.empty() ? 0 : owned.back().slot + aligned(owned.back().end - owned.back().begin);
}

void VariableStore::own(OwnedRanges owned) {
  owned_ = std::move(owned);
  const size_t bytes = slot_bytes(owned_[static_cast<size_t>(mesh_->data_rank())]);
  memory_.slots = Arena(backend_, bytes * static_cast<size_t>(slots_));
}

std::vector<std::byte> VariableStore::whole_slot(int slot) const {
  std::vector<std::byte> whole(layout_.parameter_bytes);
  if (owned_.empty()) {
    backend_.copy(whole.data(), memory_.slots.data() + whole.size() * static_cast<size_t>(slot), whole.size());
    return whole;
  }
  size_t largest = 0;
  for (const auto& ranges : owned_) largest = std::max(largest, slot_bytes(ranges));
  largest = std::ranges::max(gather(*host_, largest));  // ranks that share a lane may have parts of different sizes
  const size_t bytes = slot_bytes(owned_[static_cast<size_t>(mesh_->data_rank())]);
  const auto together = static_cast<size_t>(mesh_->strategy().ranks_per_lane());
  std::vector<std::byte> mine(largest), all(largest * static_cast<size_t>(host_->size()));
  backend_.copy(mine.data(), memory_.slots.data() + bytes * static_cast<size_t>(slot), bytes);
  InlineStream now;
  host_->all_gather(mine.data(), all.data(), largest, now);
  for (size_t r = 0; r < owned_.size(); ++r) {
    const std::byte* from = all.data() + (r * together + static_cast<size_t>(host_->rank()) % together) * largest;
    for (const OwnedRange& range : owned_[r])
      std::copy_n(from + range.slot, range.end - range.begin, whole.data() + range.begin);
  }
  return whole;
}

std::vector<bool> VariableStore::takers(bool wanted) const {
  if (layout_.shards.empty()) return {};
  std::vector<bool> all;
  for (const char one : gather(*host_, static_cast<char>(wanted))) all.push_back(one != 0);
  return all;
}

std::vector<float> VariableStore::read(const Variable& variable, const std::vector<bool>& takers) const {
  std::vector<float> mine(static_cast<size_t>(layout_.local_shape(variable).elements()));
  backend_.copy(reinterpret_cast<std::byte*>(mine.data()), data(variable.name), mine.size() * sizeof(float));
  return joined(std::move(mine), variable, takers);
}

std::vector<float> VariableStore::joined(std::vector<float> mine, const Variable& variable,
                                         const std::vector<bool>& takers) const {
  const auto cut = layout_.shards.find(variable.name);
  if (cut == layout_.shards.end()) return mine;
  const auto me = static_cast<size_t>(host_->rank());
  // The first ranks are one of each part.
  const auto givers = static_cast<size_t>(mesh_->strategy().ranks_per_lane());
  const auto bytes = [](std::vector<float>& values) { return reinterpret_cast<std::byte*>(values.data()); };
  std::vector<Box> boxes;
  std::vector<std::vector<float>> parts(givers);
  for (size_t rank = 0; rank < givers; ++rank)
    boxes.push_back(lockstep::box_of(variable.shape, cut->second, mesh_->coordinates(static_cast<int>(rank))));
  std::vector<Message> messages;
  for (size_t peer = 0; peer < takers.size(); ++peer) {
    if (peer == me) continue;
    Message message{.peer = static_cast<int>(peer)};
    if (takers[peer] && me < givers) {
      message.send = bytes(mine);
      message.send_bytes = mine.size() * sizeof(float);
    }
    if (takers[me] && peer < givers) {
      parts[peer].resize(static_cast<size_t>(elements_of(boxes[peer])));
      message.receive = bytes(parts[peer]);
      message.receive_bytes = parts[peer].size() * sizeof(float);
    }
    if (message.send_bytes + message.receive_bytes > 0) messages.push_back(message);
  }
  InlineStream now;
  host_->exchange(messages, now);
  if (!takers[me]) return {};
  if (me < givers) parts[me] = std::move(mine);
  std::vector<float> whole(static_cast<size_t>(variable.shape.elements()));
  for (size_t rank = 0; rank < givers; ++rank)
    for_each_run(variable.shape, boxes[rank], [&](int64_t at, int64_t in_box, int64_t length) {
      std::copy_n(parts[rank].data() + in_box, length, whole.data() + at);
    });
  return whole;
}

Box VariableStore::box_of(const Variable& variable) const {
  const auto cut = layout_.shards.find(variable.name);
  return cut == layout_.shards.end() ? lockstep::box_of(variable.shape, {}, {})
                                     : lockstep::box_of(variable.shape, cut->second, mesh_->coordinates());
}

void VariableStore::put(std::byte* to, std::span<const float> mine) {
  backend_.copy(to, std::as_bytes(mine).data(), mine.size_bytes());
}

std::vector<float> VariableStore::part(std::span<const float> values, const Variable& variable) const {
  std::vector<float> mine(static_cast<size_t>(layout_.local_shape(variable).elements()));
  for_each_run(variable.shape, box_of(variable), [&](int64_t at, int64_t in_box, int64_t length) {
    std::copy_n(values.data() + at, length, mine.data() + in_box);
  });
  return mine;
}

Weights VariableStore::get(bool wanted) const {
  if (!wanted && layout_.shards.empty()) return {};
  const std::vector<bool> who = takers(wanted);
  Weights weights;
  for (const Variable& variable : variables_) {
    std::vector<float> values = read(variable, who);
    if (wanted) weights[variable.name] = std::move(values);
  }
  return weights;
}

void VariableStore::set(const Weights& weights) {
  check_weights(variables_, weights);
  for (const Variable& variable : variables_) put(data(variable.name), part(weights.at(variable.name), variable));
}

std::string VariableStore::agreed(std::string hash) const {
  if (layout_.shards.empty()) return hash;
  InlineStream now;
  hash.resize(64);
  host_->broadcast(reinterpret_cast<std::byte*>(hash.data()), hash.size(), 0, now);
  return hash;
}

void hash_variable(Sha256& hash, const Variable& variable, std::span<const float> values) {
  hash.update(variable.name + variable.shape.str());
  hash.update(std::as_bytes(values));
}

std::string VariableStore::sha256() const {
  // Where variables are cut, the first rank puts them together.
  const bool hashes = layout_.shards.empty() || host_->rank() == 0;
  const std::vector<bool> who = takers(hashes);
  Sha256 hash;
  for (const Variable& variable : variables_) hash_variable(hash, variable, read(variable, who));
  return agreed(hash.hex());
}

void VariableStore::check_replicas() const {
  if (!host_) return;
  Sha256 hash;
  for (const Arena* arena : {&memory_.parameters, &memory_.states}) {
    std::vector<std::byte> values(arena->bytes());
    backend_.copy(values.data(), arena->data(), values.size());
    hash.update(values);
  }
  std::array<char, 64> mine{};
  hash.hex().copy(mine.data(), mine.size());
  const auto all = gather(*host_, mine);
  const auto together = static_cast<size_t>(mesh_->strategy().ranks_per_lane());
  const auto text = [&](size_t rank) { return std::string(all[rank].data(), mine.size()); };
  for (size_t rank = together; rank < all.size(); ++rank)
    if (all[rank] != all[rank % together])
      throw Error("ranks ended with different weights: what rank {} holds has sha256 {}, on rank {} it has {}",
                  rank % together, text(rank % together), rank, text(rank));
}

std::vector<Weights> VariableStore::get_slots(bool wanted) const {
  if (!wanted && layout_.shards.empty() && owned_.empty()) return {};
  const std::vector<bool> who = takers(wanted);
  std::vector<Weights> slots(static_cast<size_t>(slots_));
  for (int slot = 0; slot < slots_; ++slot) {
    const std::vector<std::byte> whole = whole_slot(slot);
    for (const Variable& variable : variables_) {
      if (!variable.trainable) continue;
      std::vector<float> mine(static_cast<size_t>(layout_.local_shape(variable).elements()));
      std::copy_n(whole.data() + layout_.where.at(variable.name).offset, mine.size() * sizeof(float),
                  reinterpret_cast<std::byte*>(mine.data()));
      std::vector<float> values = joined(std::move(mine), variable, who);
      if (wanted) slots[static_cast<size_t>(slot)][variable.name] = std::move(values);
    }
  }
  return slots;
}

void VariableStore::set_slots(const std::vector<Weights>& slots) {
  if (static_cast<int>(slots.size()) != slots_)
    throw Error("{} slots of optimizer variables were given, the optimizer has {}", slots.size(), slots_);
  for (size_t slot = 0; slot < slots.size(); ++slot) {
    std::vector<std::byte> whole(layout_.parameter_bytes);
    for (const Variable& variable : variables_) {
      if (!variable.trainable) continue;
      const auto mine = part(slots[slot].at(variable.name), variable);
      std::ranges::copy(std::as_bytes(std::span(mine)),
                        whole.begin() + static_cast<ptrdiff_t>(layout_.where.at(variable.name).offset));
    }
    if (owned_.empty()) {
      backend_.copy(memory_.slots.data() + whole.size() * slot, whole.data(), whole.size());
      continue;
    }
    const auto& own = owned_[static_cast<size_t>(mesh_->data_rank())];
    for (const OwnedRange& range : own)
      backend_.copy(memory_.slots.data() + slot_bytes(own) * slot + range.slot, whole.data() + range.begin,
                    range.end - range.begin);
  }
}

LossScale VariableStore::loss_scale() const {
  LossScale scale;
  backend_.copy(reinterpret_cast<std::byte*>(&scale), data(std::string(loss_scale_name)), sizeof scale);
  return scale;
}

void VariableStore::set_loss_scale(const LossScale& scale) {
  backend_.copy(data(std::string(loss_scale_name)), reinterpret_cast<const std::byte*>(&scale), sizeof scale);
}

std::string VariableStore::slots_sha256() const {
  Sha256 hash;
  const bool hashes = layout_.shards.empty() || host_->rank() == 0;
  for (const Weights& slot : get_slots(hashes))
    for (const Variable& variable : variables_)
      if (hashes && variable.trainable) hash.update(std::as_bytes(std::span(slot.at(variable.name))));
  const LossScale scale = loss_scale();
  hash.update(std::as_bytes(std::span(&scale, 1)));
  return agreed(hash.hex());
}

}  // namespace lockstep
