#include "launch/variables.h"

#include <cstring>

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
}

VariableStore::VariableStore(const Network& network, Backend& backend, int slots, uint64_t seed)
    : variables_(network.variables()), layout_(network), slots_(slots) {
  memory_.parameters = Arena(backend, layout_.parameter_bytes);
  memory_.states = Arena(backend, layout_.state_bytes);
  memory_.slots = Arena(backend, layout_.parameter_bytes * static_cast<size_t>(slots));
  for (size_t i = 0; i < variables_.size(); ++i) {
    const Variable& variable = variables_[i];
    variable.initializer.fill({data(variable), static_cast<size_t>(variable.shape.elements())}, seed,
                              static_cast<uint32_t>(i));
  }
}

float* VariableStore::data(const Variable& variable) const {
  const Location& location = layout_.where.at(variable.name);
  const Arena& arena = location.region == Region::Parameter ? memory_.parameters : memory_.states;
  return reinterpret_cast<float*>(arena.data() + location.offset);
}

Weights VariableStore::get() const {
  Weights weights;
  for (const Variable& variable : variables_)
    weights[variable.name].assign(data(variable), data(variable) + variable.shape.elements());
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
  for (const Variable& variable : variables_) {
    const auto& values = weights.at(variable.name);
    std::memcpy(data(variable), values.data(), values.size() * sizeof(float));
  }
}

std::string VariableStore::sha256() const {
  Sha256 hash;
  for (const Variable& variable : variables_) {
    const std::string head = variable.name + variable.shape.str();
    hash.update(std::as_bytes(std::span(head)));
    hash.update(std::as_bytes(std::span(data(variable), static_cast<size_t>(variable.shape.elements()))));
  }
  return hash.hex();
}

float* VariableStore::slot_data(int slot, const Variable& variable) const {
  const size_t offset = layout_.parameter_bytes * static_cast<size_t>(slot) + layout_.where.at(variable.name).offset;
  return reinterpret_cast<float*>(memory_.slots.data() + offset);
}

std::vector<Weights> VariableStore::get_slots() const {
  std::vector<Weights> slots(static_cast<size_t>(slots_));
  for (int slot = 0; slot < slots_; ++slot)
    for (const Variable& variable : variables_)
      if (variable.trainable)
        slots[static_cast<size_t>(slot)][variable.name].assign(slot_data(slot, variable),
                                                               slot_data(slot, variable) + variable.shape.elements());
  return slots;
}

void VariableStore::set_slots(const std::vector<Weights>& slots) {
  if (static_cast<int>(slots.size()) != slots_)
    throw Error("{} slots of optimizer variables were given, the optimizer has {}", slots.size(), slots_);
  for (int slot = 0; slot < slots_; ++slot)
    for (const Variable& variable : variables_) {
      if (!variable.trainable) continue;
      const auto& values = slots[static_cast<size_t>(slot)].at(variable.name);
      std::memcpy(slot_data(slot, variable), values.data(), values.size() * sizeof(float));
    }
}

std::string VariableStore::slots_sha256() const {
  Sha256 hash;
  for (int slot = 0; slot < slots_; ++slot)
    for (const Variable& variable : variables_)
      if (variable.trainable)
        hash.update(
            std::as_bytes(std::span(slot_data(slot, variable), static_cast<size_t>(variable.shape.elements()))));
  return hash.hex();
}

}  // namespace lockstep
