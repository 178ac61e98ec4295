#include "launch/data/resize.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "core/error.h"
#include "launch/data/byte_images.h"
#include "launch/sha256.h"

namespace lockstep {

namespace {

/// Where one output row or column comes from.
struct Tap {
  int64_t low, high;
  float weight;  // of `high`
};

std::vector<Tap> taps(int64_t in, int64_t out) {
  std::vector<Tap> result(static_cast<size_t>(out));
  const float scale = static_cast<float>(in) / static_cast<float>(out);
  for (int64_t i = 0; i < out; ++i) {
    const float source = std::max(0.0F, (static_cast<float>(i) + 0.5F) * scale - 0.5F);
    const int64_t low = std::min(static_cast<int64_t>(source), in - 1);
    result[static_cast<size_t>(i)] = {low, std::min(low + 1, in - 1), source - static_cast<float>(low)};
  }
  return result;
}

class Resized final : public Dataset {
 public:
  Resized(std::shared_ptr<const Dataset> inner, std::array<int64_t, 2> size)
      : inner_(std::move(inner)),
        in_(inner_->image_shape()),
        out_{size[0], size[1], in_[2]},
        rows_(taps(in_[0], size[0])),
        columns_(taps(in_[1], size[1])) {}

  int64_t size() const override { return inner_->size(); }
  Shape image_shape() const override { return out_; }
  int classes() const override { return inner_->classes(); }
  Type target() const override { return inner_->target(); }
  void read_target(int64_t index, std::span<std::byte> target) const override { inner_->read_target(index, target); }

  uint64_t key(int64_t index) const override { return inner_->key(index); }
  int32_t label(int64_t index) const override { return inner_->label(index); }
  ValueRange range() const override { return inner_->range(); }

  int32_t read(int64_t index, std::span<float> image) const override {
    check_read(*this, index, image);
    const int64_t channels = in_[2];
    const int64_t in_row = in_[1] * channels;
    const int64_t out_row = out_[1] * channels;
    std::vector<float> source(static_cast<size_t>(in_.elements()));
    const int32_t label = inner_->read(index, source);
    // Across first: each input row is stretched once, then read by several output rows.
    std::vector<float> wide(static_cast<size_t>(in_[0] * out_row));
    for (int64_t y = 0; y < in_[0]; ++y) {
      const float* from = source.data() + y * in_row;
      float* to = wide.data() + y * out_row;
      for (const Tap& tap : columns_)
        for (int64_t c = 0; c < channels; ++c)
          *to++ = (1.0F - tap.weight) * from[tap.low * channels + c] + tap.weight * from[tap.high * channels + c];
    }
    float* to = image.data();
    for (const Tap& tap : rows_) {
      const float* low = wide.data() + tap.low * out_row;
      const float* high = wide.data() + tap.high * out_row;
      const float high_weight = tap.weight;
      const float low_weight = 1.0F - tap.weight;
      for (int64_t x = 0; x < out_row; ++x) to[x] = low_weight * low[x] + high_weight * high[x];
      to += out_row;
    }
    return label;
  }

  std::string content_sha256() const override {
    return sha256(fmt::format("bilinear 1 {} of {}", out_.str(), inner_->content_sha256()));
  }

 private:
  std::shared_ptr<const Dataset> inner_;
  Shape in_, out_;
  std::vector<Tap> rows_, columns_;
};

}  // namespace

std::array<int64_t, 2> parse_size(const std::string& text) {
  constexpr int64_t most = 1 << 14;
  const char* end = text.data() + text.size();
  std::array<int64_t, 2> size{};
  auto parsed = std::from_chars(text.data(), end, size[0]);
  size[1] = size[0];
  if (parsed.ec == std::errc{} && parsed.ptr != end && *parsed.ptr == 'x')
    parsed = std::from_chars(parsed.ptr + 1, end, size[1]);
  if (parsed.ec != std::errc{} || parsed.ptr != end || std::min(size[0], size[1]) < 1 ||
      std::max(size[0], size[1]) > most)
    throw InputError("size '{}', expected SIDE or HEIGHTxWIDTH, each from 1 to {}", text, most);
  return size;
}

std::shared_ptr<const Dataset> resized(std::shared_ptr<const Dataset> inner, std::array<int64_t, 2> size) {
  const Shape shape = inner->image_shape();
  if (shape[0] == size[0] && shape[1] == size[1]) return inner;
  return std::make_shared<Resized>(std::move(inner), size);
}

}  // namespace lockstep
