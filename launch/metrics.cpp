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
  const std::string line = fmt::format(
      "{{\"kind\":\"{}\",\"epoch\":{},\"step\":{},\"loss\":{},\"accuracy\":{},\"images_per_second\":{},\"data_share\":{"
      "}}}\n",
      kind, r.epoch, r.step, json_number(r.loss), json_number(r.accuracy), json_number(r.images_per_second),
      json_number(r.data_share));
  size_t at = 0;
  while (at < line.size()) {
    const ssize_t n = ::write(descriptor_, line.data() + at, line.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw Error("cannot write '{}': {}", path_, std::strerror(errno));
    at += static_cast<size_t>(n);
  }
}

}  // namespace lockstep
