#include "launch/callbacks/monitor.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace lockstep {

namespace {

constexpr std::string_view validated = "val_";

bool lower_is_better(std::string_view name) {
  constexpr std::array<std::string_view, 5> words{"loss", "error", "entropy", "mse", "mae"};
  return std::ranges::any_of(words, [&](std::string_view word) { return name.find(word) != std::string_view::npos; });
}

}  // namespace

std::string_view name_of(MonitorMode mode) {
  constexpr std::array<std::string_view, 3> names{"auto", "min", "max"};
  return names[static_cast<size_t>(mode)];
}

nlohmann::json measure_json(const std::optional<double>& value) {
  return value ? nlohmann::json(fmt::format("{}", *value)) : nlohmann::json();
}

std::optional<double> measure_of(const nlohmann::json& json) {
  if (json.is_null()) return {};
  return std::stod(json.get<std::string>());
}

Monitor::Monitor(std::string owner, std::string name, MonitorMode mode, double min_delta)
    : owner_(std::move(owner)),
      name_(std::move(name)),
      lower_(mode == MonitorMode::automatic ? lower_is_better(name_) : mode == MonitorMode::min),
      min_delta_(min_delta) {
  if (!(min_delta >= 0)) throw InputError("{}: min_delta is {}, expected a number from 0", owner_, min_delta);
}

void Monitor::check(const Training& training, const Report& step) const {
  std::vector<std::string> names;
  for (const auto& [name, value] : measures(step)) names.push_back(name);
  if (name_.starts_with(validated) && !training.validates())
    throw InputError("{} monitors '{}', but the fit has no validation data; expected validation_data, or one of {}",
                     owner_, name_, fmt::join(names, ", "));
  for (size_t i = 0, n = names.size(); training.validates() && i < n; ++i)
    names.push_back(std::string(validated) + names[i]);
  if (std::ranges::find(names, name_) == names.end()) throw unknown(owner_ + " monitor", name_, names);
}

std::optional<double> Monitor::of(const Report& epoch) const {
  for (const auto& [name, value] : measures(epoch))
    if (name == name_) return value;
  return std::nullopt;
}

bool Monitor::better(double value, const std::optional<double>& than) const {
  if (!than) return !std::isnan(value);
  return lower_ ? value < *than - min_delta_ : value > *than + min_delta_;
}

}  // namespace lockstep
