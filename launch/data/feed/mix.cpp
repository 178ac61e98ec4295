#include "launch/data/feed/mix.h"

#include <algorithm>
#include <cmath>

#include "core/random.h"

namespace lockstep {

namespace {

/// Which numbers of a sample are for what; those of a rejected variate follow on the last.
enum Block : uint64_t { choosing = 0, variates = 1 };

Random numbers_of(uint64_t seed, int64_t step) { return {seed, Purpose::mix, 0, static_cast<uint64_t>(step)}; }

/// Inside (0, 1), so that it has a logarithm.
double open_uniform(uint32_t bits) { return (static_cast<double>(bits) + 0.5) * 0x1p-32; }

/// Whether the pair of uniforms gives a variate.
bool johnk(double alpha, double u, double v, double& variate) {
  // In logarithms: powers of 1 / alpha leave what a double holds.
  const double log_x = std::log(u) / alpha, log_y = std::log(v) / alpha;
  const double top = std::max(log_x, log_y);
  const double log_sum = top + std::log(std::exp(log_x - top) + std::exp(log_y - top));
  if (log_sum > 0) return false;
  variate = std::exp(log_x - log_sum);
  return true;
}

bool cheng(double alpha, double u, double v, double& variate) {
  // The names of the paper, whose alpha is the sum of the parameters, here two equal ones.
  const double sum = 2 * alpha, beta = std::sqrt((sum - 2) / (2 * alpha * alpha - sum)), gamma = alpha + 1 / beta;
  const double w = beta * std::log(u / (1 - u)), y = alpha * std::exp(w), z = u * u * v;
  const double r = gamma * w - std::log(4.0), s = alpha + r - y;
  if (s + 1 + std::log(5.0) < 5 * z && s < std::log(z) && r + sum * std::log(sum / (alpha + y)) < std::log(z))
    return false;
  variate = y / (alpha + y);
  return true;
}

Mix::Box box_of(double share, const PhiloxCounter& bits, const Shape& shape) {
  const double side = std::sqrt(1 - share);
  const auto interval = [&](uint32_t place, int64_t size) {
    const auto length = static_cast<int64_t>(std::lround(side * static_cast<double>(size)));
    const auto middle = static_cast<int64_t>((uint64_t{place} * static_cast<uint64_t>(size)) >> 32);
    const int64_t begin = middle - length / 2;
    return std::pair{std::clamp<int64_t>(begin, 0, size), std::clamp<int64_t>(begin + length, 0, size)};
  };
  const auto [top, bottom] = interval(bits[1], shape[0]);
  const auto [left, right] = interval(bits[2], shape[1]);
  return {top, bottom, left, right};
}

}  // namespace

double beta_variate(double alpha, uint64_t seed, int64_t step, int64_t position) {
  const Random random = numbers_of(seed, step);
  for (uint64_t block = variates;; ++block) {
    const auto bits = random.bits(static_cast<uint64_t>(position), block);
    for (size_t pair = 0; pair < 4; pair += 2) {
      const double u = open_uniform(bits[pair]), v = open_uniform(bits[pair + 1]);
      double variate = 0;
      if (alpha <= 1 ? johnk(alpha, u, v, variate) : cheng(alpha, u, v, variate)) return variate;
    }
  }
}

Mix::Blend Mix::blend(uint64_t seed, int64_t step, int64_t position, const Shape& shape) const {
  const auto bits = numbers_of(seed, step).bits(static_cast<uint64_t>(position), choosing);
  const bool cuts = cutmix > 0 && (mixup <= 0 || (bits[0] >> 31) != 0);
  Blend blend{.share = beta_variate(cuts ? double{cutmix} : double{mixup}, seed, step, position), .cuts = cuts};
  if (!cuts) return blend;
  blend.box = box_of(blend.share, bits, shape);
  const auto area = static_cast<double>((blend.box.bottom - blend.box.top) * (blend.box.right - blend.box.left));
  blend.share = 1 - area / static_cast<double>(shape[0] * shape[1]);
  return blend;
}

int64_t Mix::partner(uint64_t seed, int64_t step, int64_t position, int64_t samples) {
  // Numbers of a sample that no batch has.
  const auto bits = numbers_of(seed, step).bits(UINT64_MAX, choosing);
  const KeyedPermutation order(static_cast<uint64_t>(samples), uint64_t{bits[1]} << 32 | bits[0], 0);
  return static_cast<int64_t>(order(static_cast<uint64_t>(position)));
}

void blend_images(const Mix::Blend& blend, std::span<float> image, std::span<const float> partner, const Shape& shape) {
  if (!blend.cuts) return blend_targets(blend, image, partner);
  const int64_t width = shape[1], channels = shape[2];
  const auto& [top, bottom, left, right] = blend.box;
  for (int64_t y = top; y < bottom; ++y)
    std::copy_n(partner.data() + (y * width + left) * channels, (right - left) * channels,
                image.data() + (y * width + left) * channels);
}

void blend_targets(const Mix::Blend& blend, std::span<float> target, std::span<const float> partner) {
  const auto own = static_cast<float>(blend.share);
  for (size_t i = 0; i < target.size(); ++i) target[i] = own * target[i] + (1 - own) * partner[i];
}

}  // namespace lockstep
