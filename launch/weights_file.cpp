#include "launch/weights_file.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "launch/data/gzip.h"
#include "launch/manifest.h"

namespace lockstep {

static_assert(std::endian::native == std::endian::little, "safetensors holds little-endian values");

namespace {

using Json = nlohmann::ordered_json;
constexpr size_t length_bytes = sizeof(uint64_t);

}  // namespace

void write_weights(const std::string& path, const Network& network, const Weights& weights) {
  Json header;
  size_t offset = 0;
  for (const Variable& variable : network.variables()) {
    const size_t end = offset + static_cast<size_t>(variable.shape.elements()) * sizeof(float);
    const auto dims = variable.shape.dims();
    header[variable.name] = {
        {"dtype", "F32"}, {"shape", std::vector<int64_t>(dims.begin(), dims.end())}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data is aligned
  std::string bytes(length_bytes, '\0');
  const uint64_t length = text.size();
  std::memcpy(bytes.data(), &length, length_bytes);
  bytes += text;
  for (const Variable& variable : network.variables()) {
    const auto& values = weights.at(variable.name);
    bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  }
  write_atomically(path, bytes);
}

Weights read_weights(const std::string& path, const Network& network) {
  const std::vector<uint8_t> bytes = read_file(path);
  uint64_t length = 0;
  if (bytes.size() < length_bytes) throw InputError("{}: ends at byte {}, expected a header", path, bytes.size());
  std::memcpy(&length, bytes.data(), length_bytes);
  if (length > bytes.size() - length_bytes)
    throw InputError("{}: byte 0 gives a header of {} bytes, the file has {}", path, length, bytes.size());
  const Json header = Json::parse(bytes.begin() + length_bytes,
                                  bytes.begin() + static_cast<ptrdiff_t>(length_bytes + length), nullptr, false);
  if (!header.is_object()) throw InputError("{}: byte {}: the header is not a JSON object", path, length_bytes);

  const size_t data = length_bytes + length;
  Weights weights;
  for (const Variable& variable : network.variables()) {
    const auto found = header.find(variable.name);
    if (found == header.end()) throw InputError("{}: has no variable '{}'", path, variable.name);
    try {
      const auto shape = found->at("shape").get<std::vector<int64_t>>();
      const auto offsets = found->at("data_offsets").get<std::array<size_t, 2>>();
      const auto dtype = found->at("dtype").get<std::string>();
      if (dtype != "F32" || !std::ranges::equal(shape, variable.shape.dims()))
        throw InputError("{}: variable '{}' is {}[{}], the model '{}' has F32{}", path, variable.name, dtype,
                         fmt::join(shape, ", "), network.name(), variable.shape.str());
      auto& values = weights[variable.name];
      values.resize(static_cast<size_t>(variable.shape.elements()));
      if (offsets[1] - offsets[0] != values.size() * sizeof(float) || offsets[0] > offsets[1] ||
          offsets[1] > bytes.size() - data)
        throw InputError("{}: variable '{}' lies at bytes {} to {}, the file has {}", path, variable.name,
                         data + offsets[0], data + offsets[1], bytes.size());
      std::memcpy(values.data(), bytes.data() + data + offsets[0], values.size() * sizeof(float));
    } catch (const Json::exception& error) {
      throw InputError("{}: the header's entry for '{}' is malformed: {}", path, variable.name, error.what());
    }
  }
  for (const auto& [name, entry] : header.items())
    if (name != "__metadata__" && !weights.contains(name))
      throw InputError("{}: has a variable '{}' that the model '{}' has not", path, name, network.name());
  return weights;
}

}  // namespace lockstep
