#include <fmt/ranges.h>

#include <cmath>
#include <functional>
#include <optional>

#include "core/error.h"
#include "core/registry.h"
#include "layers/network/json_lines.h"
#include "layers/network/network.h"
#include "layers/ops.h"
#include "layers/base/register_layer.h"

namespace lockstep {

namespace {

using Json = nlohmann::ordered_json;

Registry<MakeLayer>& layer_types() {
  static Registry<MakeLayer> types = [] {
    const std::map<std::string, MakeLayer> own{
        {"Input", [] { return std::make_shared<Input>(); }},
#define LOCKSTEP_LAYER(Class) {std::string(Class().type()), [] { return std::make_shared<Class>(); }},
#include "layers/list.inc"
    };
    return Registry<MakeLayer>("layer type", {own.begin(), own.end()});
  }();
  return types;
}

class Writer final : public Fields {
 public:
  explicit Writer(Json& json) : json_(json) {}
  void field(std::string_view key, int64_t& value, bool) override { json_[std::string(key)] = value; }
  void field(std::string_view key, Size2& value, bool) override { json_[std::string(key)] = value; }
  void field(std::string_view key, std::vector<int64_t>& value, bool) override { json_[std::string(key)] = value; }
  void field(std::string_view key, float& value, bool) override { json_[std::string(key)] = value; }
  void field(std::string_view key, bool& value, bool) override { json_[std::string(key)] = value; }
  void field(std::string_view key, std::optional<float>& value) override {
    json_[std::string(key)] = value ? Json(*value) : Json(nullptr);
  }
  void field(std::string_view key, Padding& value) override {
    if (value.kind == Padding::Kind::pixels)
      json_[std::string(key)] = Json::array({value.rows, value.columns});
    else
      json_[std::string(key)] = value == Padding::same ? "same" : "valid";
  }
  void field(std::string_view key, Regularizer& value) override {
    if (value.any()) json_[std::string(key)] = {{"l1", value.l1}, {"l2", value.l2}};
  }

 protected:
  void choose(std::string_view key, int& index, std::span<const std::string> names, bool) override {
    json_[std::string(key)] = names[static_cast<size_t>(index)];
  }

 private:
  Json& json_;
};

/// A whole number that sizes can be: products of a few of them fit into 64 bits or are noticed.
std::optional<int64_t> whole(const Json& j) {
  constexpr int64_t most = int64_t{1} << 31;
  if (!j.is_number_integer() || (j.is_number_unsigned() && j.get<uint64_t>() > static_cast<uint64_t>(most))) return {};
  const auto value = j.get<int64_t>();
  return value >= -most && value <= most ? std::optional(value) : std::nullopt;
}

/// Two of them, such as [3, 3], or one for both.
std::optional<Size2> pair(const Json& j) {
  const bool two = j.is_array() && j.size() == 2;
  const auto first = whole(two ? j[0] : j), second = whole(two ? j[1] : j);
  return first && second ? std::optional(Size2{*first, *second}) : std::nullopt;
}

/// As Keras' ZeroPadding2D takes pixels: one number, [height, width] or [[top, bottom], [left, right]].
std::optional<Padding> padding(const Json& j) {
  if (j == "valid") return Padding::valid;
  if (j == "same") return Padding::same;
  const bool two = j.is_array() && j.size() == 2;
  const auto rows = pair(two ? j[0] : j), columns = pair(two ? j[1] : j);
  return rows && columns ? std::optional(Padding(*rows, *columns)) : std::nullopt;
}

/// As Keras names them, with its defaults, or by their numbers.
bool read_regularizer(const Json& j, Regularizer& value) {
  const std::map<std::string, Regularizer, std::less<>> named{{"l1", L1()}, {"l2", L2()}, {"l1_l2", L1L2()}};
  value = {};
  if (j.is_null()) return true;
  if (j.is_string()) {
    const auto found = named.find(j.get<std::string>());
    if (found == named.end()) return false;
    value = found->second;
    return true;
  }
  if (!j.is_object() || j.empty()) return false;
  for (const auto& [key, number] : j.items()) {
    if ((key != "l1" && key != "l2") || !number.is_number()) return false;
    const auto factor = number.get<float>();
    if (!(factor >= 0) || !std::isfinite(factor)) return false;
    (key == "l1" ? value.l1 : value.l2) = factor;
  }
  return true;
}

/// Reads one layer's options; remembers which keys exist, so that unknown ones can be named.
class Reader final : public Fields {
 public:
  Reader(const JsonDocument& document, const Json& layer, std::string pointer)
      : document_(document), layer_(layer), pointer_(std::move(pointer)) {}

  void field(std::string_view key, int64_t& value, bool required) override {
    read(key, required, "a whole number up to 2^31", [&](const Json& j) {
      const auto number = whole(j);
      value = number.value_or(value);
      return number.has_value();
    });
  }
  void field(std::string_view key, Size2& value, bool required) override {
    read(key, required, "a whole number up to 2^31 or two, such as [3, 3]", [&](const Json& j) {
      const auto sizes = pair(j);
      value = sizes.value_or(value);
      return sizes.has_value();
    });
  }
  void field(std::string_view key, std::vector<int64_t>& value, bool required) override {
    read(key, required, "a list of whole numbers up to 2^31, such as [28, 28, 1]", [&](const Json& j) {
      if (!j.is_array()) return false;
      value.clear();
      for (const Json& item : j) {
        const auto number = whole(item);
        if (!number) return false;
        value.push_back(*number);
      }
      return true;
    });
  }
  void field(std::string_view key, float& value, bool required) override {
    read(key, required, "a number", [&](const Json& j) {
      if (!j.is_number()) return false;
      value = j.get<float>();
      return true;
    });
  }
  void field(std::string_view key, bool& value, bool required) override {
    read(key, required, "true or false", [&](const Json& j) {
      if (!j.is_boolean()) return false;
      value = j.get<bool>();
      return true;
    });
  }
  void field(std::string_view key, std::optional<float>& value) override {
    read(key, false, "a number or null", [&](const Json& j) {
      if (!j.is_null() && !j.is_number()) return false;
      value = j.is_null() ? std::nullopt : std::optional(j.get<float>());
      return true;
    });
  }
  void field(std::string_view key, Padding& value) override {
    read(key, false, R"("valid", "same" or pixels, such as [[1, 1], [1, 1]])", [&](const Json& j) {
      const auto given = padding(j);
      value = given.value_or(value);
      return given.has_value();
    });
  }

  void field(std::string_view key, Regularizer& value) override {
    read(key, false, R"(null, "l1", "l2", "l1_l2", or numbers from 0 such as {"l1": 0, "l2": 0.0001})",
         [&](const Json& j) { return read_regularizer(j, value); });
  }

  void refuse_unknown_keys() const {
    std::vector<std::string> known = keys_;
    for (const char* of_all : {"type", "name", "inputs"}) known.emplace_back(of_all);
    for (const auto& [key, value] : layer_.items())
      if (std::ranges::find(known, key) == known.end())
        throw InputError("{}: {}", document_.where(pointer_ + json_pointer_part(key)),
                         unknown("option of " + layer_["type"].get<std::string>(), key, known).what());
  }

 protected:
  void choose(std::string_view key, int& index, std::span<const std::string> names, bool required) override {
    read(key, required, fmt::format("one of {}", fmt::join(names, ", ")), [&](const Json& j) {
      if (!j.is_string()) return false;
      const auto found = std::ranges::find(names, j.get<std::string>());
      if (found == names.end()) return false;
      index = static_cast<int>(found - names.begin());
      return true;
    });
  }

 private:
  void read(std::string_view key, bool required, std::string_view expected,
            const std::function<bool(const Json&)>& take) {
    keys_.emplace_back(key);
    const auto found = layer_.find(std::string(key));
    if (found == layer_.end()) {
      if (required) throw InputError("{}: key '{}' is missing, expected {}", document_.where(pointer_), key, expected);
      return;
    }
    if (!take(*found))
      throw InputError("{}: key '{}' is {}, expected {}", document_.where(pointer_ + json_pointer_part(key)), key,
                       found->dump(), expected);
  }

  const JsonDocument& document_;
  const Json& layer_;
  std::string pointer_;
  std::vector<std::string> keys_;
};

std::shared_ptr<Layer> make_layer(const std::string& type, const std::string& where) {
  try {
    return layer_types().find(type)();
  } catch (const InputError& error) {
    throw InputError("{}: {}", where, error.what());
  }
}

std::shared_ptr<Layer> read_layer(const JsonDocument& document, const Json& json, const std::string& pointer) {
  if (!json.is_object() || !json.contains("type") || !json["type"].is_string())
    throw InputError("{}: expected a layer: an object with a key 'type'", document.where(pointer));
  auto layer = make_layer(json["type"].get<std::string>(), document.where(pointer + "/type"));
  Reader reader(document, json, pointer);
  layer->describe(reader);
  reader.refuse_unknown_keys();
  if (json.contains("name")) {
    if (!json["name"].is_string()) throw InputError("{}: expected a name", document.where(pointer + "/name"));
    layer->name = json["name"].get<std::string>();
  }
  return layer;
}

Network network_of(const JsonDocument& document) {
  const Json& root = document.root();
  if (!root.is_object() || !root.contains("layers") || !root["layers"].is_array() || root["layers"].empty())
    throw InputError("{}: expected an object with a key 'layers': a list of layers", document.where(""));
  for (const auto& [key, value] : root.items())
    if (key != "name" && key != "layers")
      throw InputError("{}: {}", document.where(json_pointer_part(key)),
                       unknown("key", key, std::vector<std::string>{"name", "layers"}).what());

  if (root.contains("name") && !root["name"].is_string())
    throw InputError("{}: expected a name, got {}", document.where("/name"), root["name"].dump());

  std::map<std::string, size_t, std::less<>> by_name;
  std::vector<Symbol> layers;
  std::vector<bool> read;
  for (size_t i = 0; i < root["layers"].size(); ++i) {
    const Json& json = root["layers"][i];
    const std::string pointer = fmt::format("/layers/{}", i);
    auto layer = read_layer(document, json, pointer);
    std::vector<Symbol> inputs;
    const auto take = [&](size_t layer_before) {
      inputs.push_back(layers[layer_before]);
      read[layer_before] = true;
    };
    if (json.contains("inputs")) {
      const Json& named = json["inputs"];
      if (!named.is_array())
        throw InputError("{}: expected a list of layers' names, got {}", document.where(pointer + "/inputs"),
                         named.dump());
      for (size_t k = 0; k < named.size(); ++k) {
        const auto at = fmt::format("{}/inputs/{}", pointer, k);
        const auto found = named[k].is_string() ? by_name.find(named[k].get<std::string>()) : by_name.end();
        if (found == by_name.end())
          throw InputError("{}: {} is not the name of a layer before this one", document.where(at), named[k].dump());
        take(found->second);
      }
    } else if (!layers.empty()) {
      take(layers.size() - 1);
    }
    const std::string name = layer->name;
    if (!name.empty() && !by_name.emplace(name, layers.size()).second)
      throw InputError("{}: two layers are named '{}'", document.where(pointer + "/name"), name);
    layers.push_back(
        {std::make_shared<const LayerNode>(LayerNode{std::move(layer), std::move(inputs), document.where(pointer)})});
    read.push_back(false);
  }
  for (size_t i = 0; i + 1 < layers.size(); ++i)
    if (!read[i])
      throw InputError("{}: no layer takes its output, and only the last layer's is the model's",
                       layers[i].node->where);
  try {
    return Network(root.value("name", "model"), layers.back());
  } catch (const InputError& error) {
    const std::string what = error.what();
    throw InputError("{}{}", what.starts_with(document.file() + ":") ? "" : document.file() + ": ", what);
  }
}

}  // namespace

void register_layer(const std::string& type, MakeLayer make) { layer_types().add(type, std::move(make)); }
std::vector<std::string> layer_type_names() { return layer_types().names(); }

Network network_from_json(const std::string& text, const std::string& where) {
  return network_of(JsonDocument(text, where));
}

Network read_network(const std::filesystem::path& path) { return network_of(JsonDocument::read(path)); }

std::string network_to_json(const Network& network) {
  Json root{{"name", network.name()}, {"layers", Json::array()}};
  for (const NetworkLayer& entry : network.layers()) {
    Json layer{{"type", entry.layer->type()}, {"name", entry.layer->name}};
    Writer writer(layer);
    entry.layer->clone()->describe(writer);
    Json inputs = Json::array();
    for (int input : entry.inputs) inputs.push_back(network.layers()[static_cast<size_t>(input)].layer->name);
    if (!inputs.empty()) layer["inputs"] = inputs;
    root["layers"].push_back(layer);
  }
  return root.dump(2);
}

}  // namespace lockstep
