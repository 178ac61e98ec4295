#include "launch/record/metrics.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "launch/files/durable.h"
#include "launch/files/gzip.h"

namespace lockstep {

namespace {

std::string with_point(std::string text) {
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

template <class Real>
std::string not_finite(Real value) {
  if (std::isnan(value)) return "\"nan\"";
  return value > 0 ? "\"inf\"" : "\"-inf\"";
}

}  // namespace

std::string json_number(double value) {
  return std::isfinite(value) ? with_point(fmt::format("{}", value)) : not_finite(value);
}

std::string json_number(float value) {
  if (!std::isfinite(value)) return not_finite(value);
  std::string text = fmt::format("{}", value);
  // Rounding twice, to double and then to float, can end elsewhere: 7.038531e-26 does. Then the digits of a double.
  if (static_cast<float>(std::strtod(text.c_str(), nullptr)) != value) return json_number(static_cast<double>(value));
  return with_point(std::move(text));
}

std::string shortest(double value) {
  const auto single = static_cast<float>(value);
  return double{single} == value ? json_number(single) : json_number(value);
}

void MetricsWriter::write(const char* kind, const Report& r) {
  std::string line = fmt::format("{{\"kind\":\"{}\",\"epoch\":{},\"step\":{}", kind, r.epoch, r.step);
  const auto add = [&](const std::string& name, const std::string& number) {
    line += fmt::format(",\"{}\":{}", name, number);
  };
  for (const auto& [name, value] : measures(r)) add(name, shortest(value));
  for (const auto& [name, values] : r.metrics) {
    if (values.size() == 1) continue;
    std::string all;
    for (const double value : values) all += (all.empty() ? "" : ",") + shortest(value);
    add(name, "[" + all + "]");
  }
  add("lr", json_number(r.lr));
  add("images_per_second", json_number(r.images_per_second));
  add("data_share", json_number(r.data_share));
  line += "}\n";
  file_.write(line);
}

void keep_metrics(const std::filesystem::path& from, const std::filesystem::path& to, int64_t steps,
                  bool within_epoch) {
  if (!std::filesystem::exists(from)) return;
  const std::vector<uint8_t> bytes = read_file(from);
  const std::string text(bytes.begin(), bytes.end());
  std::string kept;
  int line = 0;
  for (size_t at = 0, end = text.find('\n'); end != std::string::npos; at = end + 1, end = text.find('\n', at)) {
    ++line;
    const auto json = nlohmann::json::parse(text.substr(at, end - at), nullptr, false);
    if (!json.is_object() || !json.value("step", nlohmann::json()).is_number_integer())
      throw InputError("{}:{}: expected a JSON object with a step", from.string(), line);
    const auto step = json["step"].get<int64_t>();
    const bool early = within_epoch && json.value("kind", "") == "epoch" && step + 1 == steps;
    if (step < steps && !early) kept += text.substr(at, end + 1 - at);
  }
  write_atomically(to, kept);
}

}  // namespace lockstep
