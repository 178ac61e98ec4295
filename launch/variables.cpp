#include "launch/variables.h"

#include "core/error.h"
#include "launch/sha256.h"

namespace lockstep {

VariableLayout::VariableLayout(const Network& network) {
  const auto& variables = network.variables();
  for (auto variable = variables.rbegin(); variable != variables.rend(); ++variable) {
    size_t& size = variable->trainable ? parameter_bytes : state_bytes;
    where[variable->name] = {variable->trainable ? Region::Parameter : Region::State, size};
    size += aligned(static_cast<size_t>(variable->shape.elements()) * sizeof(float));
  }
  where[std::string(loss_scale_name)] = {Region::State, state_bytes};
  state_bytes += aligned(sizeof(LossScale));
}

VariableStore::VariableStore(const Network& network, Backend& backend, int slots, uint64_t seed)
    : backend_(backend), variables_(network.variables()), layout_(network), slots_(slots) {
  memory_.parameters = Arena(backend, layout_.parameter_bytes);
  memory_.states = Arena(backend, layout_.state_bytes);
  memory_.slots = Arena(backend, layout_.parameter_bytes * static_cast<size_t>(slots));
  std::vector<float> values;
  for (size_t i = 0; i < variables_.size(); ++i) {
    const Variable& variable = variables_[i];
    values.resize(static_cast<size_t>(variable.shape.elements()));
    variable.initializer.fill(values, seed, static_cast<uint32_t>(i));
    write(data(variable.name), values);
  }
  set_loss_scale({});
}

std::byte* VariableStore::data(const std::string& name) const {
  const Location& location = layout_.where.at(name);
  const Arena& arena = location.region == Region::Parameter ? memory_.parameters : memory_.states;
  return arena.data() + location.offset;
}

std::byte* VariableStore::slot_data(int slot, const Variable& variable) const {
  const size_t offset = layout_.parameter_bytes * static_cast<size_t>(slot) + layout_.where.at(variable.name).offset;
  return memory_.slots.data() + offset;
}

std::vector<float> VariableStore::read(const std::byte* from, const Variable& variable) const {
  std::vector<float> values(static_cast<size_t>(variable.shape.elements()));
  backend_.copy(reinterpret_cast<std::byte*>(values.data()), from, values.size() * sizeof(float));
  return values;
}

void VariableStore::write(std::byte* to, std::span<const float> values) {
  backend_.copy(to, std::as_bytes(values).data(), values.size_bytes());
}

Weights VariableStore::get() const {
  Weights weights;
  for (const Variable& variable : variables_) weights[variable.name] = read(data(variable.name), variable);
  return weights;
}

void VariableStore::set(const Weights& weights) {
  for (const Variable& variable : variables_) {
    const auto found = weights.find(variable.name);
    if (found == weights.end()) throw Error("variable '{}' is missing", variable.name);
    if (static_cast<int64_t>(found->second.size()) != variable.shape.elements())
      throw Error("variable '{}' has {} values, expected {}", variable.name, found->second.size(),
                  variable.shape.str());
  }
  if (weights.size() != variables_.size())
    throw Error("{} variables were given, the network has {}", weights.size(), variables_.size());
  for (const Variable& variable : variables_) write(data(variable.name), weights.at(variable.name));
}

std::string VariableStore::sha256() const {
  Sha256 hash;
  for (const Variable& variable : variables_) {
    const std::string head = variable.name + variable.shape.str();
    hash.update(std::as_bytes(std::span(head)));
    const auto values = read(data(variable.name), variable);
    hash.update(std::as_bytes(std::span(values)));
  }
  return hash.hex();
}

std::vector<Weights> VariableStore::get_slots() const {
  std::vector<Weights> slots(static_cast<size_t>(slots_));
  for (int slot = 0; slot < slots_; ++slot)
    for (const Variable& variable : variables_)
      if (variable.trainable)
        slots[static_cast<size_t>(slot)][variable.name] = read(slot_data(slot, variable), variable);
  return slots;
}

void VariableStore::set_slots(const std::vector<Weights>& slots) {
  if (static_cast<int>(slots.size()) != slots_)
    throw Error("{} slots of optimizer variables were given, the optimizer has {}", slots.size(), slots_);
  for (int slot = 0; slot < slots_; ++slot)
    for (const Variable& variable : variables_)
      if (variable.trainable) write(slot_data(slot, variable), slots[static_cast<size_t>(slot)].at(variable.name));
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
  for (int slot = 0; slot < slots_; ++slot)
    for (const Variable& variable : variables_) {
      if (!variable.trainable) continue;
      const auto values = read(slot_data(slot, variable), variable);
      hash.update(std::as_bytes(std::span(values)));
    }
  const LossScale scale = loss_scale();
  hash.update(std::as_bytes(std::span(&scale, 1)));
  return hash.hex();
}

}  // namespace lockstep
