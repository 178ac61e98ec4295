#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "layers/engines.h"

namespace lockstep {

std::string EngineChoices::find(const std::string& key) const {
  const auto found = choices_.find(key);
  return found == choices_.end() ? std::string() : found->second;
}

std::string EngineChoices::json() const { return nlohmann::json(choices_).dump(2) + "\n"; }

void EngineChoices::read(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) throw InputError("cannot read the engines' file '{}'", file.string());
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  try {
    for (const auto& [key, engine] : nlohmann::json::parse(text).get<std::map<std::string, std::string>>())
      choices_[key] = engine;
  } catch (const nlohmann::json::exception& error) {
    throw InputError("'{}' is no engines' file, expected an object of names and engines: {}", file.string(),
                     error.what());
  }
}

}  // namespace lockstep
