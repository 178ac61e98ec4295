#include "launch/files/safetensors.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "launch/files/durable.h"
#include "launch/files/gzip.h"

namespace lockstep {

static_assert(std::endian::native == std::endian::little, "safetensors holds little-endian values");

namespace {

using Json = nlohmann::ordered_json;
constexpr size_t length_bytes = sizeof(uint64_t);

}  // namespace

WrittenFile write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors) {
  Json header = Json::object();
  size_t offset = 0;
  for (const NamedTensor& tensor : tensors) {
    const size_t end = offset + tensor.values.size_bytes();
    const auto dims = tensor.shape.dims();
    header[tensor.name] = {
        {"dtype", "F32"}, {"shape", std::vector<int64_t>(dims.begin(), dims.end())}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data is aligned
  const uint64_t length = text.size();
  TemporaryFile file(path);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(text);
  for (const NamedTensor& tensor : tensors) file.write(std::as_bytes(tensor.values));
  file.keep_as(path);
  return {file.bytes(), file.sha256()};
}

Safetensors Safetensors::read(const std::filesystem::path& path) { return {path.string(), read_file(path)}; }

Safetensors::Safetensors(std::string file, std::vector<uint8_t> bytes)
    : file_(std::move(file)), bytes_(std::move(bytes)) {
  uint64_t length = 0;
  if (bytes_.size() < length_bytes) throw InputError("{}: ends at byte {}, expected a header", file_, bytes_.size());
  std::memcpy(&length, bytes_.data(), length_bytes);
  if (length > bytes_.size() - length_bytes)
    throw InputError("{}: byte 0 gives a header of {} bytes, the file has {}", file_, length, bytes_.size());
  const Json header = Json::parse(bytes_.begin() + length_bytes,
                                  bytes_.begin() + static_cast<ptrdiff_t>(length_bytes + length), nullptr, false);
  if (!header.is_object()) throw InputError("{}: byte {}: the header is not a JSON object", file_, length_bytes);
  const size_t data = length_bytes + length, most = bytes_.size() - data;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    try {
      const auto offsets = entry.at("data_offsets").get<std::array<size_t, 2>>();
      if (offsets[0] > offsets[1] || offsets[1] > most)
        throw InputError("{}: variable '{}' lies at bytes {} to {} of the values, the file has {} of them", file_, name,
                         offsets[0], offsets[1], most);
      entries_[name] = {entry.at("dtype").get<std::string>(), entry.at("shape").get<std::vector<int64_t>>(),
                        data + offsets[0], data + offsets[1]};
    } catch (const Json::exception& error) {
      throw InputError("{}: the header's entry for '{}' is malformed: {}", file_, name, error.what());
    }
  }
}

std::vector<std::string> Safetensors::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

std::vector<float> Safetensors::get(const std::string& name, const Shape& shape, const std::string& owner) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) throw InputError("{}: has no variable '{}'", file_, name);
  const Entry& entry = found->second;
  if (entry.dtype != "F32" || !std::ranges::equal(entry.shape, shape.dims()))
    throw InputError("{}: variable '{}' is {}[{}], {} has F32{}", file_, name, entry.dtype,
                     fmt::join(entry.shape, ", "), owner, shape.str());
  std::vector<float> values(static_cast<size_t>(shape.elements()));
  if (entry.end - entry.begin != values.size() * sizeof(float))
    throw InputError("{}: variable '{}' of {} takes {} bytes, expected {}", file_, name, shape.str(),
                     entry.end - entry.begin, values.size() * sizeof(float));
  std::memcpy(values.data(), bytes_.data() + entry.begin, values.size() * sizeof(float));
  return values;
}

}  // namespace lockstep
