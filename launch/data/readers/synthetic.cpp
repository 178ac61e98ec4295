#include "launch/data/readers/synthetic.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "core/random.h"
#include "launch/data/byte_images.h"
#include "launch/files/sha256.h"

namespace lockstep {

namespace {

constexpr uint64_t seed = 0;
constexpr int64_t max_side = 1 << 16;
constexpr int64_t max_pattern_floats = int64_t{1} << 28;

/// A triangle wave of period 1 between 0 and 1. No sine: its last bit may differ between libraries.
float triangle(float x) { return std::abs(2.0F * (x - std::floor(x)) - 1.0F); }

struct Spec {
  Shape image;
  int classes = 0;
  int64_t train = 0, test = 0;
};

/// Each image is rows[class] + columns[class] + noise, at most 1 in all: shared by the training and the test set.
struct Patterns {
  explicit Patterns(const Spec& spec) : height(spec.image[0]), row_floats(spec.image[1] * spec.image[2]) {
    const int64_t channels = spec.image[2];
    const int64_t width = spec.image[1];
    rows.resize(static_cast<size_t>(spec.classes * height * channels));
    columns.resize(static_cast<size_t>(spec.classes * row_floats));
    const Random random(seed, Purpose::data);
    size_t row = 0;
    size_t column = 0;
    for (int c = 0; c < spec.classes; ++c) {
      // Per class: how many stripes, where they start, and how strong they are in each channel.
      const auto stripes = random.bits(static_cast<uint64_t>(c), 0);
      const auto wave = [](uint32_t bits, uint32_t start, int64_t at, int64_t side) {
        const float count = 0.5F + to_uniform(bits) * std::min(8.0F, 0.25F * static_cast<float>(side));
        return triangle(to_uniform(start) + count * static_cast<float>(at) / static_cast<float>(side));
      };
      const auto strength = [&](int64_t channel) {
        return random.bits(static_cast<uint64_t>(c), static_cast<uint64_t>(channel) + 1);
      };
      for (int64_t y = 0; y < height; ++y)
        for (int64_t k = 0; k < channels; ++k)
          rows[row++] = to_uniform(strength(k)[0]) * 0.15F +
                        0.25F * to_uniform(strength(k)[1]) * wave(stripes[0], stripes[1], y, height);
      for (int64_t x = 0; x < width; ++x)
        for (int64_t k = 0; k < channels; ++k)
          columns[column++] = 0.25F * to_uniform(strength(k)[2]) * wave(stripes[2], stripes[3], x, width);
    }
  }

  int64_t height, row_floats;
  std::vector<float> rows;     // [classes, H, C]
  std::vector<float> columns;  // [classes, W, C]
};

/// A 32-bit finaliser (Appleby, MurmurHash3): far cheaper than Philox where a statistic of the noise is all that
/// counts.
inline uint32_t mix(uint32_t x) {
  x ^= x >> 16;
  x *= 0x85EBCA6BU;
  x ^= x >> 13;
  x *= 0xC2B2AE35U;
  return x ^ x >> 16;
}

class Synthetic final : public Dataset {
 public:
  Synthetic(Spec spec, std::shared_ptr<const Patterns> patterns, int64_t first, int64_t count)
      : spec_(spec), patterns_(std::move(patterns)), first_(first), count_(count) {}

  int64_t size() const override { return count_; }
  Shape image_shape() const override { return spec_.image; }
  int classes() const override { return spec_.classes; }
  int32_t label(int64_t index) const override { return static_cast<int32_t>(index % spec_.classes); }

  int32_t read(int64_t index, std::span<float> image) const override {
    check_read(*this, index, image);
    const int32_t label = this->label(index);
    const int64_t channels = spec_.image[2];
    const uint32_t key = Random(seed, Purpose::data, 1).bits(static_cast<uint64_t>(first_ + index), 0)[0];
    const auto n = static_cast<int32_t>(patterns_->row_floats);
    std::vector<float> row(static_cast<size_t>(n));
    const float* columns = patterns_->columns.data() + label * patterns_->row_floats;
    for (int64_t y = 0; y < patterns_->height; ++y) {
      const float* base = patterns_->rows.data() + (label * patterns_->height + y) * channels;
      for (int64_t x = 0; x < n; x += channels)
        for (int64_t k = 0; k < channels; ++k) row[static_cast<size_t>(x + k)] = columns[x + k] + base[k];
      float* out = image.data() + y * n;
      const uint32_t start = key + static_cast<uint32_t>(y * n) * 0x9E3779B9U;
      const float* pattern = row.data();
      for (int32_t x = 0; x < n; ++x) {
        const uint32_t bits = mix(start + static_cast<uint32_t>(x) * 0x9E3779B9U);
        // Through a signed integer, for which processors have a vector conversion.
        out[x] = pattern[x] + static_cast<float>(static_cast<int32_t>(bits >> 8)) * (0.35F * 0x1p-24F);
      }
    }
    return label;
  }

  std::string content_sha256() const override {
    return sha256(fmt::format("synthetic 1 {} {} {} {}", spec_.image.str(), spec_.classes, first_, count_));
  }

 private:
  Spec spec_;
  std::shared_ptr<const Patterns> patterns_;
  int64_t first_, count_;
};

Spec parse(const std::string& text) {
  const auto fail = [&](std::string_view why) {
    return InputError(
        "data 'synthetic:{}': {}; expected synthetic:HxWxC/CLASSES/COUNT[/TESTCOUNT], as in "
        "synthetic:224x224x3/10/1024",
        text, why);
  };
  // The separators before each number, and its largest value.
  struct Field {
    std::string_view name;
    char before;
    int64_t most;
  };
  constexpr Field fields[] = {{"H", 0, max_side},
                              {"W", 'x', max_side},
                              {"C", 'x', 4096},
                              {"CLASSES", '/', 1 << 20},
                              {"COUNT", '/', int64_t{1} << 40},
                              {"TESTCOUNT", '/', int64_t{1} << 40}};
  std::vector<int64_t> values;
  const char* at = text.data();
  const char* end = at + text.size();
  for (const auto& field : fields) {
    if (field.name == "TESTCOUNT" && at == end) break;
    if (field.before && (at == end || *at++ != field.before))
      throw fail(fmt::format("no '{}' before {}", field.before, field.name));
    int64_t value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error != std::errc{} || value < 1 || value > field.most)
      throw fail(fmt::format("{} is not a number from 1 to {}", field.name, field.most));
    values.push_back(value);
    at = next;
  }
  if (at != end) throw fail(fmt::format("'{}' is left over", std::string_view(at, end)));
  Spec spec{{values[0], values[1], values[2]},
            static_cast<int>(values[3]),
            values[4],
            values.size() > 5 ? values[5] : std::max<int64_t>(1, values[4] / 5)};
  if (spec.image.elements() > INT32_MAX / 4 || spec.classes * (values[0] + values[1]) * values[2] > max_pattern_floats)
    throw fail("images or classes too large");
  return spec;
}

}  // namespace

Data open_synthetic(const std::string& text) {
  const Spec spec = parse(text);
  const auto patterns = std::make_shared<const Patterns>(spec);
  return {"synthetic:" + text, std::make_shared<Synthetic>(spec, patterns, 0, spec.train),
          std::make_shared<Synthetic>(spec, patterns, spec.train, spec.test)};
}

}  // namespace lockstep
