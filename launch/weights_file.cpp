#include "launch/weights_file.h"

#include "core/error.h"
#include "launch/sha256.h"

namespace lockstep {

WrittenFile write_weights(const std::string& path, const Network& network, const Weights& weights) {
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
