#include "launch/record/weights_file.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "launch/files/sha256.h"
#include "launch/plan/variables.h"

namespace lockstep {

void expect_finite(const Network& network, const Weights& weights, const std::string& whose) {
  for (const Variable& variable : network.variables()) {
    const std::vector<float>& values = weights.at(variable.name);
    const auto bad = std::ranges::find_if_not(values, [](float value) { return std::isfinite(value); });
    if (bad == values.end()) continue;
    throw Error(
        "{} are not finite: '{}' {} holds {} as its element {}; training may need a lower learning rate, and "
        "--check-finite tells which operation made the first such number",
        whose, variable.name, variable.shape.str(), *bad, bad - values.begin());
  }
}

WrittenFile write_weights(const std::string& path, const Network& network, const Weights& weights) {
  expect_finite(network, weights, fmt::format("'{}' is not written: the weights", path));
  std::vector<NamedTensor> tensors;
  for (const Variable& variable : network.variables())
    tensors.push_back({variable.name, variable.shape, weights.at(variable.name)});
  return write_safetensors(path, tensors);
}

Weights read_weights(const std::string& path, const Network& network) {
  return read_weights(Safetensors::read(path), network);
}

Weights read_weights(const Safetensors& file, const Network& network) {
  const std::string owner = fmt::format("the model '{}'", network.name());
  Weights weights;
  for (const Variable& variable : network.variables())
    weights[variable.name] = file.get(variable.name, variable.shape, owner);
  for (const std::string& name : file.names())
    if (!weights.contains(name)) throw InputError("{}: has a variable '{}' that {} has not", file.file(), name, owner);
  return weights;
}

std::string weights_sha256(const Network& network, const Weights& weights) {
  Sha256 hash;
  for (const Variable& variable : network.variables()) hash_variable(hash, variable, weights.at(variable.name));
  return hash.hex();
}

}  // namespace lockstep
