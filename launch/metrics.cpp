#include "launch/metrics.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>

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

}  // namespace lockstep
