#include "launch/data/image/preparation.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "launch/data/image/resample.h"

namespace lockstep {

namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t longest_side = 1 << 14;

const std::vector<std::string>& how_names() {
  static const std::vector<std::string> names{"stretch", "middle"};
  return names;
}

std::string text_of(const std::vector<Fit>& fits) {
  std::vector<std::string> texts;
  for (const Fit& fit : fits) texts.push_back(fit.str());
  return fmt::format("{}", fmt::join(texts, ", then "));
}

int64_t number(const Json& json, const char* name, int64_t least, int64_t most) {
  const Json& value = json.at(name);
  const auto found = value.is_number_integer() ? value.get<int64_t>() : least - 1;
  if (found < least || found > most)
    throw InputError("'{}' is {}, expected a whole number from {} to {}", name, value.dump(), least, most);
  return found;
}

}  // namespace

Crop Fit::part(int64_t rows, int64_t columns) const {
  if (how == How::middle) return central_crop({rows, columns}, height, width, shorter);
  return {0, 0, static_cast<double>(rows), static_cast<double>(columns)};
}

std::vector<Fit> fits_of(const Dataset& set) {
  const auto* fitted = dynamic_cast<const FittedImages*>(&set);
  return fitted ? fitted->fits() : std::vector<Fit>{};
}

std::string Fit::str() const {
  return fmt::format("{} {}x{}{}", how_names()[static_cast<size_t>(how)], height, width,
                     shorter > 0 ? fmt::format(" of the shorter side {}", shorter) : "");
}

std::array<int64_t, 2> parse_size(const std::string& text) {
  const char* end = text.data() + text.size();
  std::array<int64_t, 2> size{};
  auto parsed = std::from_chars(text.data(), end, size[0]);
  size[1] = size[0];
  if (parsed.ec == std::errc{} && parsed.ptr != end && *parsed.ptr == 'x')
    parsed = std::from_chars(parsed.ptr + 1, end, size[1]);
  if (parsed.ec != std::errc{} || parsed.ptr != end || std::min(size[0], size[1]) < 1 ||
      std::max(size[0], size[1]) > longest_side)
    throw InputError("size '{}', expected SIDE, HEIGHTxWIDTH or SIDE:SHORTER, each from 1 to {}", text, longest_side);
  return size;
}

Fit parse_fit(const std::string& text, Fit::How how) {
  const size_t colon = std::min(text.find(':'), text.size());
  const auto [height, width] = parse_size(text.substr(0, colon));
  if (colon == text.size()) return {height, width, 0, how};
  const int64_t shorter = parse_size(text.substr(colon + 1))[0];
  if (const int64_t least = std::max(height, width); shorter < least || text.find('x', colon) != std::string::npos)
    throw InputError("size '{}': the shorter side is one number from {}", text, least);
  return {height, width, shorter, Fit::How::middle};
}

Json to_json(const Preparation& preparation) {
  Json fits = Json::array();
  for (const Fit& fit : preparation.fits)
    fits.push_back({{"how", how_names()[static_cast<size_t>(fit.how)]},
                    {"height", fit.height},
                    {"width", fit.width},
                    {"shorter", fit.shorter}});
  return {
      {"height", preparation.height}, {"width", preparation.width}, {"channels", preparation.channels}, {"fits", fits}};
}

Preparation preparation_from_json(const Json& json, const std::string& where) {
  try {
    constexpr int64_t most_channels = 65535;
    Preparation preparation{number(json, "height", 1, 65535), number(json, "width", 1, 65535),
                            number(json, "channels", 1, most_channels)};
    for (const Json& fit : json.at("fits"))
      preparation.fits.push_back(
          {number(fit, "height", 1, longest_side), number(fit, "width", 1, longest_side),
           number(fit, "shorter", 0, longest_side),
           static_cast<Fit::How>(index_of("how", fit.at("how").get<std::string>(), how_names()))});
    if (const auto& fits = preparation.fits;
        !fits.empty() && (fits.back().height != preparation.height || fits.back().width != preparation.width))
      throw InputError("its last fit is {}, expected {}x{}", fits.back().str(), preparation.height, preparation.width);
    return preparation;
  } catch (const nlohmann::json::exception& error) {
    throw InputError("{}: {}", where, error.what());
  } catch (const InputError& error) {
    throw InputError("{}: {}", where, error.what());
  }
}

std::vector<Fit> still_to_do(const std::vector<Fit>& wanted, const std::vector<Fit>& done, const std::string& data) {
  if (wanted.empty()) return {};
  if (done.size() > wanted.size() || !std::equal(done.begin(), done.end(), wanted.begin()))
    throw InputError(
        "data '{}': its images were brought to their size by {}; the model's are by {}, expected the same, "
        "or --resize",
        data, text_of(done), text_of(wanted));
  return {wanted.begin() + static_cast<ptrdiff_t>(done.size()), wanted.end()};
}

}  // namespace lockstep
