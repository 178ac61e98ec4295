#include "launch/plan/strategy_file.h"

#include <algorithm>

#include "core/error.h"
#include "layers/network/json_lines.h"

namespace lockstep {

namespace {

using Json = nlohmann::ordered_json;

/// Runs `read`, and gives its InputError the place in the file.
template <class Read>
auto at(const JsonDocument& document, const std::string& pointer, Read read) {
  try {
    return read();
  } catch (const InputError& error) {
    throw InputError("{}: {}", document.where(pointer), error.what());
  }
}

void expect_object(const Json& json, const char* what) {
  if (!json.is_object()) throw InputError("expected an object: {}", what);
}

void expect_keys(const JsonDocument& document, const Json& json, const std::string& pointer,
                 const std::vector<std::string>& known) {
  for (const auto& [key, value] : json.items())
    at(document, pointer + json_pointer_part(key), [&, name = key] { index_of("key", name, known); });
}

Pin read_pin(const JsonDocument& document, const Json& json, const std::string& pointer, const Strategy& strategy) {
  at(document, pointer, [&] {
    expect_object(json, R"({"layers": "stage4/*", "place": {"space_h": "whole"}})");
    for (const char* key : {"layers", "place"})
      if (!json.contains(key)) throw InputError("key '{}' is missing", key);
  });
  expect_keys(document, json, pointer, {"layers", "place"});
  Pin pin;
  at(document, pointer + "/layers", [&] {
    if (!json["layers"].is_string())
      throw InputError("expected a pattern of layers' names, got {}", json["layers"].dump());
    pin.layers = json["layers"].get<std::string>();
  });
  at(document, pointer + "/place", [&] { expect_object(json["place"], R"({"space_h": "whole"})"); });
  std::vector<std::string> axes, cuts(cut_names().begin() + 1, cut_names().end());
  for (const auto& [axis, size] : document.root()["mesh"].items())
    if (axis != "data") axes.push_back(axis);
  cuts.emplace_back("whole");
  for (const auto& [axis, place] : json["place"].items())
    at(document, pointer + "/place" + json_pointer_part(axis), [&, name = axis, how = place] {
      index_of("mesh axis", name, axes);
      if (name == "stage") {
        if (!how.is_number_integer()) throw InputError("expected a stage's number, from 0, got {}", how.dump());
        constexpr int64_t most = 65535;
        const auto stage = how.template get<int64_t>();
        if (stage < 0 || stage > most) throw InputError("stage is {}, expected 0 to {}", how.dump(), most);
        if (strategy.stage_axis()) pin.stage = static_cast<int>(stage);  // else there is one, and nothing to share
        return;
      }
      if (!how.is_string()) throw InputError("expected one of {}, got {}", fmt::join(cuts, ", "), how.dump());
      const size_t cut = index_of("placement", how.template get<std::string>(), cuts);
      pin.place[name] = cut + 1 == cuts.size() ? std::nullopt : std::optional(static_cast<Cut>(cut + 1));
    });
  return pin;
}

}  // namespace

Strategy read_strategy(const std::string& text) {
  if (!text.ends_with(".json")) return parse_strategy(text);
  const JsonDocument document = JsonDocument::read(text);
  const Json& root = document.root();
  at(document, "", [&] {
    expect_object(root, R"({"mesh": {"space_h": 2}, "pins": [...]})");
    if (!root.contains("mesh")) throw InputError("key 'mesh' is missing");
  });
  expect_keys(document, root, "", {"mesh", "pins"});
  at(document, "/mesh", [&] { expect_object(root["mesh"], R"({"space_h": 2})"); });
  Strategy strategy;
  for (const auto& [axis, size] : root["mesh"].items())
    at(document, "/mesh" + json_pointer_part(axis), [&, name = axis, members = size] {
      const bool automatic = name == "stage" && members == "auto";
      if (!automatic && !members.is_number_integer())
        throw InputError("expected the axis' size, got {}", members.dump());
      add_axis(strategy, name, automatic ? std::nullopt : std::optional(members.template get<int64_t>()));
    });
  if (!root.contains("pins")) return strategy;
  at(document, "/pins", [&] {
    if (!root["pins"].is_array()) throw InputError("expected a list of pins");
  });
  for (size_t i = 0; i < root["pins"].size(); ++i)
    strategy.pins.push_back(read_pin(document, root["pins"][i], fmt::format("/pins/{}", i), strategy));
  return strategy;
}

}  // namespace lockstep
