#include "launch/metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "core/error.h"

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

MetricsWriter::MetricsWriter(const std::filesystem::path& path)
    : path_(path.string()),
      descriptor_(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666)) {
  if (descriptor_ < 0) throw InputError("cannot create '{}': {}", path_, std::strerror(errno));
}

MetricsWriter::~MetricsWriter() { ::close(descriptor_); }

void MetricsWriter::write(const char* kind, const Report& r) {
  std::string line = fmt::format("{{\"kind\":\"{}\",\"epoch\":{},\"step\":{}", kind, r.epoch, r.step);
  const auto add = [&](const std::string& name, const std::string& number) {
    line += fmt::format(",\"{}\":{}", name, number);
  };
  // What was measured in single precision is written in as few digits as tell that apart.
  add("loss", json_number(r.loss));
  add("accuracy", json_number(r.accuracy));
  for (const auto& [name, value] : measures(r))
    if (name.starts_with("val_")) add(name, json_number(value));
  add("lr", json_number(r.lr));
  add("images_per_second", json_number(r.images_per_second));
  add("data_share", json_number(r.data_share));
  line += "}\n";
  size_t at = 0;
  while (at < line.size()) {
    const ssize_t n = ::write(descriptor_, line.data() + at, line.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw Error("cannot write '{}': {}", path_, std::strerror(errno));
    at += static_cast<size_t>(n);
  }
}

}  // namespace lockstep
