#include "launch/data/normalise.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>

#include "core/error.h"
#include "launch/data/crew.h"
#include "launch/files/sha256.h"

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
  Type target() const override { return inner_->target(); }
  void read_target(int64_t index, std::span<std::byte> target) const override { inner_->read_target(index, target); }

  int32_t read(int64_t index, std::span<float> image) const override {
    const int32_t label = inner_->read(index, image);
    apply(image);
    return label;
  }

  int32_t read_crop(int64_t index, const ChooseCrop& choose, std::span<float> image) const override {
    const int32_t label = inner_->read_crop(index, choose, image);
    apply(image);
    return label;
  }
  uint64_t key(int64_t index) const override { return inner_->key(index); }
  int32_t label(int64_t index) const override { return inner_->label(index); }
  ValueRange range() const override { return inner_->range(); }
  const Normalisation* normalisation() const override { return &normalisation_; }

  std::string content_sha256() const override {
    std::string text = "normalised 1";
    for (const auto* values : {&normalisation_.mean, &normalisation_.std})
      for (float value : *values) text += fmt::format(" {:08x}", std::bit_cast<uint32_t>(value));
    return sha256(text + " of " + inner_->content_sha256());
  }

 private:
  void apply(std::span<float> image) const {
    const size_t n = mean_.size();
    for (size_t start = 0; start < image.size(); start += n) {
      float* row = image.data() + start;
      for (size_t x = 0; x < n; ++x) row[x] = (row[x] - mean_[x]) / std_[x];
    }
  }

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

Measuring::Measuring(const Dataset& dataset)
    : floats_(static_cast<size_t>(dataset.image_shape().elements())),
      channels_(static_cast<size_t>(dataset.image_shape()[2])) {
  constexpr int64_t most = int64_t{1} << 28;
  const int64_t fitting = std::max<int64_t>(1, most / static_cast<int64_t>(floats_));
  stride_ = (dataset.size() + fitting - 1) / fitting;
  sums_.resize(static_cast<size_t>((dataset.size() + stride_ - 1) / stride_) * channels_);
  squares_.resize(sums_.size());
  added_.resize(sums_.size() / channels_);
}

void Measuring::add(int64_t index, std::span<const float> image) {
  if (index % stride_ != 0) return;
  added_[static_cast<size_t>(index / stride_)] = 1;
  for (size_t k = 0; k < channels_; ++k) {
    double image_sum = 0;
    double image_squares = 0;
    for (size_t x = k; x < floats_; x += channels_) {
      const double value = image[x];
      image_sum += value;
      image_squares += value * value;
    }
    sums_[static_cast<size_t>(index / stride_) * channels_ + k] = image_sum;
    squares_[static_cast<size_t>(index / stride_) * channels_ + k] = image_squares;
  }
}

Normalisation Measuring::result() const {
  std::vector<double> sum(channels_), squares(channels_);
  for (size_t i = 0; i < sums_.size(); ++i) {
    sum[i % channels_] += sums_[i];
    squares[i % channels_] += squares_[i];
  }
  const size_t pixels = static_cast<size_t>(std::ranges::count(added_, 1)) * (floats_ / channels_);

  Normalisation result;
  for (size_t k = 0; k < channels_; ++k) {
    const double mean = sum[k] / static_cast<double>(pixels);
    const double variance = squares[k] / static_cast<double>(pixels) - mean * mean;
    result.mean.push_back(static_cast<float>(mean));
    // Below this, what is left of the variance is rounding.
    result.std.push_back(variance > 1e-12 ? static_cast<float>(std::sqrt(variance)) : 1.0F);
  }
  return result;
}

Normalisation measure(const Dataset& dataset, int workers) {
  Measuring measuring(dataset);
  Crew crew(workers);
  std::vector<std::vector<float>> images(static_cast<size_t>(crew.workers()),
                                         std::vector<float>(static_cast<size_t>(dataset.image_shape().elements())));
  crew.each((dataset.size() + measuring.stride() - 1) / measuring.stride(), [&](int64_t i, int worker) {
    std::vector<float>& image = images[static_cast<size_t>(worker)];
    dataset.read(i * measuring.stride(), image);
    measuring.add(i * measuring.stride(), image);
  });
  return measuring.result();
}

std::optional<Normalisation> parse_normalisation(const std::string& text, const Dataset& train, int workers) {
  if (text == "none") return std::nullopt;
  if (text == "auto") return measure(train, workers);
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
