#include "launch/data/normalise.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>

#include "core/error.h"
#include "launch/sha256.h"

namespace lockstep {

namespace {

class Normalised final : public Dataset {
 public:
  Normalised(std::shared_ptr<const Dataset> inner, Normalisation normalisation)
      : inner_(std::move(inner)), normalisation_(std::move(normalisation)) {
    // Repeated along a row, so that the loop over pixels is one over plain arrays whatever the number of channels.
    const Shape shape = inner_->image_shape();
    for (int64_t x = 0; x < shape[1]; ++x) {
      mean_.insert(mean_.end(), normalisation_.mean.begin(), normalisation_.mean.end());
      std_.insert(std_.end(), normalisation_.std.begin(), normalisation_.std.end());
    }
  }

  int64_t size() const override { return inner_->size(); }
  Shape image_shape() const override { return inner_->image_shape(); }
  int classes() const override { return inner_->classes(); }

  int32_t read(int64_t index, std::span<float> image) const override {
    const int32_t label = inner_->read(index, image);
    const size_t n = mean_.size();
    for (size_t start = 0; start < image.size(); start += n) {
      float* row = image.data() + start;
      for (size_t x = 0; x < n; ++x) row[x] = (row[x] - mean_[x]) / std_[x];
    }
    return label;
  }

  std::string content_sha256() const override {
    std::string text = "normalised 1";
    for (const auto* values : {&normalisation_.mean, &normalisation_.std})
      for (float value : *values) text += fmt::format(" {:08x}", std::bit_cast<uint32_t>(value));
    return sha256(text + " of " + inner_->content_sha256());
  }

 private:
  std::shared_ptr<const Dataset> inner_;
  Normalisation normalisation_;
  std::vector<float> mean_, std_;  // [W, C]
};

/// "0.1,0.2" as floats; empty where it is anything else.
std::vector<float> parse_list(std::string_view text) {
  std::vector<float> values;
  const char* at = text.data();
  const char* end = at + text.size();
  while (true) {
    float value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error != std::errc{} || !std::isfinite(value)) return {};
    values.push_back(value);
    if (next == end) return values;
    if (*next != ',') return {};
    at = next + 1;
  }
}

}  // namespace

Normalisation measure(const Dataset& dataset) {
  constexpr int64_t most = int64_t{1} << 28;
  const auto floats = static_cast<size_t>(dataset.image_shape().elements());
  const auto channels = static_cast<size_t>(dataset.image_shape()[2]);
  const int64_t fitting = std::max<int64_t>(1, most / static_cast<int64_t>(floats));
  const int64_t stride = (dataset.size() + fitting - 1) / fitting;

  std::vector<float> image(floats);
  std::vector<double> sum(channels), squares(channels);
  int64_t pixels = 0;
  for (int64_t i = 0; i < dataset.size(); i += stride) {
    dataset.read(i, image);
    for (size_t k = 0; k < channels; ++k) {
      double image_sum = 0;
      double image_squares = 0;
      for (size_t x = k; x < floats; x += channels) {
        const double value = image[x];
        image_sum += value;
        image_squares += value * value;
      }
      sum[k] += image_sum;
      squares[k] += image_squares;
    }
    pixels += static_cast<int64_t>(floats / channels);
  }

  Normalisation result;
  for (size_t k = 0; k < channels; ++k) {
    const double mean = sum[k] / static_cast<double>(pixels);
    const double variance = squares[k] / static_cast<double>(pixels) - mean * mean;
    result.mean.push_back(static_cast<float>(mean));
    // Below this, what is left of the variance is rounding.
    result.std.push_back(variance > 1e-12 ? static_cast<float>(std::sqrt(variance)) : 1.0F);
  }
  return result;
}

std::optional<Normalisation> parse_normalisation(const std::string& text, const Dataset& train) {
  if (text == "none") return std::nullopt;
  if (text == "auto") return measure(train);
  const auto channels = static_cast<size_t>(train.image_shape()[2]);
  const size_t slash = std::min(text.find('/'), text.size());
  Normalisation given{
      parse_list(std::string_view(text).substr(0, slash)),
      slash < text.size() ? parse_list(std::string_view(text).substr(slash + 1)) : std::vector<float>{}};
  const bool positive = std::all_of(given.std.begin(), given.std.end(), [](float x) { return x > 0; });
  if (given.mean.size() != channels || given.std.size() != channels || !positive)
    throw InputError(
        "normalisation '{}', expected auto, none or MEAN/STD with {} comma-separated number{} each, "
        "STD above 0",
        text, channels, channels == 1 ? "" : "s");
  return given;
}

std::shared_ptr<const Dataset> normalised(std::shared_ptr<const Dataset> inner, Normalisation normalisation) {
  const auto channels = static_cast<size_t>(inner->image_shape()[2]);
  if (normalisation.mean.size() != channels || normalisation.std.size() != channels)
    throw Error("{} means and {} standard deviations for {} channels", normalisation.mean.size(),
                normalisation.std.size(), channels);
  return std::make_shared<Normalised>(std::move(inner), std::move(normalisation));
}

}  // namespace lockstep
