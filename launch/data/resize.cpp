#include "launch/data/resize.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "launch/data/byte_images.h"
#include "launch/files/sha256.h"

namespace lockstep {

namespace {

/// What one output row or column is made of: input rows or columns, and their weights.
using Taps = std::vector<std::pair<int64_t, float>>;

Taps growing(int64_t in, double begin, double length, int64_t out, int64_t i) {
  const float scale = static_cast<float>(length) / static_cast<float>(out);
  const float source = static_cast<float>(begin) + (static_cast<float>(i) + 0.5F) * scale - 0.5F;
  const float inside = std::max(0.0F, source);
  const int64_t low = std::min(static_cast<int64_t>(inside), in - 1);
  const float weight = inside - static_cast<float>(low);
  return {{low, 1.0F - weight}, {std::min(low + 1, in - 1), weight}};
}

Taps shrinking(int64_t in, double begin, double length, int64_t out, int64_t i) {
  const double reach = length / static_cast<double>(out);
  const double centre = begin + (static_cast<double>(i) + 0.5) * reach;
  const auto first = std::max<int64_t>(static_cast<int64_t>(std::floor(centre - reach)), 0);
  const auto last = std::min<int64_t>(static_cast<int64_t>(std::ceil(centre + reach)), in);
  std::vector<double> weights;
  double sum = 0;
  for (int64_t k = first; k < last; ++k) {
    weights.push_back(std::max(0.0, 1 - std::abs(static_cast<double>(k) + 0.5 - centre) / reach));
    sum += weights.back();
  }
  Taps taps;
  for (int64_t k = first; k < last; ++k)
    if (const double weight = weights[static_cast<size_t>(k - first)]; weight > 0)
      taps.emplace_back(k, static_cast<float>(weight / sum));
  return taps;
}

std::vector<Taps> taps_of(int64_t in, double begin, double length, int64_t out) {
  const auto make = length > static_cast<double>(out) ? shrinking : growing;
  std::vector<Taps> all;
  for (int64_t i = 0; i < out; ++i) all.push_back(make(in, begin, length, out, i));
  return all;
}

/// One image's rows and columns, made once for all images of its shape.
class Stretch {
 public:
  Stretch(const Shape& shape, const Fit& fit) : in_(shape) {
    const Crop part = fit.part(shape[0], shape[1]);
    rows_ = taps_of(shape[0], part.top, part.height, fit.height);
    columns_ = taps_of(shape[1], part.left, part.width, fit.width);
  }

  void apply(std::span<const float> image, std::span<float> result) const {
    const int64_t channels = in_[2], in_row = in_[1] * channels;
    const int64_t out_row = static_cast<int64_t>(columns_.size()) * channels;
    // Across first: each input row is stretched once, then read by several output rows.
    std::vector<float> wide(static_cast<size_t>(in_[0] * out_row));
    for (int64_t y = 0; y < in_[0]; ++y) {
      const float* from = image.data() + y * in_row;
      float* to = wide.data() + y * out_row;
      for (const Taps& taps : columns_)
        for (int64_t c = 0; c < channels; ++c) {
          float sum = taps[0].second * from[taps[0].first * channels + c];
          for (size_t k = 1; k < taps.size(); ++k) sum += taps[k].second * from[taps[k].first * channels + c];
          *to++ = sum;
        }
    }
    float* to = result.data();
    for (const Taps& taps : rows_) {
      for (size_t k = 0; k < taps.size(); ++k) {
        const auto [row, weight] = taps[k];
        const float* from = wide.data() + row * out_row;
        if (k == 0)
          for (int64_t x = 0; x < out_row; ++x) to[x] = weight * from[x];
        else
          for (int64_t x = 0; x < out_row; ++x) to[x] += weight * from[x];
      }
      to += out_row;
    }
  }

 private:
  Shape in_;
  std::vector<Taps> rows_, columns_;
};

class Resized final : public FittedImages {
 public:
  Resized(std::shared_ptr<const Dataset> inner, const Fit& fit)
      : inner_(std::move(inner)), fit_(fit), fits_(fits_of(*inner_)), stretch_(inner_->image_shape(), fit) {
    fits_.push_back(fit);
  }

  int64_t size() const override { return inner_->size(); }
  Shape image_shape() const override { return {fit_.height, fit_.width, inner_->image_shape()[2]}; }
  int classes() const override { return inner_->classes(); }
  std::vector<Fit> fits() const override { return fits_; }
  Type target() const override { return inner_->target(); }
  void read_target(int64_t index, std::span<std::byte> target) const override { inner_->read_target(index, target); }
  uint64_t key(int64_t index) const override { return inner_->key(index); }
  int32_t label(int64_t index) const override { return inner_->label(index); }
  ValueRange range() const override { return inner_->range(); }
  const Normalisation* normalisation() const override { return inner_->normalisation(); }

  int32_t read(int64_t index, std::span<float> image) const override {
    check_read(*this, index, image);
    std::vector<float> source(static_cast<size_t>(inner_->image_shape().elements()));
    const int32_t label = inner_->read(index, source);
    stretch_.apply(source, image);
    return label;
  }

  std::string content_sha256() const override {
    return sha256(fmt::format("resized 1 {} of {}", fit_.str(), inner_->content_sha256()));
  }

 private:
  std::shared_ptr<const Dataset> inner_;
  Fit fit_;
  std::vector<Fit> fits_;
  Stretch stretch_;
};

/// Whether all of an image of this shape becomes an image of the same shape.
bool changes_nothing(const Shape& shape, const Fit& fit) {
  const Crop part = fit.part(shape[0], shape[1]);
  return shape[0] == fit.height && shape[1] == fit.width && part.height == static_cast<double>(shape[0]) &&
         part.width == static_cast<double>(shape[1]);
}

}  // namespace

std::shared_ptr<const Dataset> resized(std::shared_ptr<const Dataset> inner, const Fit& fit) {
  if (changes_nothing(inner->image_shape(), fit)) return inner;
  return std::make_shared<Resized>(std::move(inner), fit);
}

void resize_image(std::span<const float> image, const Shape& shape, const Fit& fit, std::span<float> to) {
  if (changes_nothing(shape, fit))
    std::copy(image.begin(), image.end(), to.begin());
  else
    Stretch(shape, fit).apply(image, to);
}

}  // namespace lockstep
