// MixUp and CutMix: training samples are blended with others of their global batch, and so are their targets.
// Immutable: any thread.
#pragma once

#include <cstdint>
#include <span>

#include "core/shape.h"

namespace lockstep {

/// Where both are given, each sample gets either with probability 1/2. Random numbers are a function of seed, step and
/// the sample's position in the global batch, never of ranks or lanes.
struct Mix {
  /// Zhang et al., "mixup", ICLR 2018: share * sample + (1 - share) * partner, share from Beta(alpha, alpha) with this
  /// alpha. 0: not done.
  float mixup = 0;
  /// Yun et al., "CutMix", ICCV 2019: a rectangle of the image's ratio comes from the partner, of 1 - share of the
  /// area, its middle anywhere; what is cut off at the edges counts as the sample's own. The same. 0: not done.
  float cutmix = 0;

  bool any() const { return mixup > 0 || cutmix > 0; }

  /// Rows [top, bottom) and columns [left, right).
  struct Box {
    int64_t top = 0, bottom = 0, left = 0, right = 0;
  };
  struct Blend {
    double share = 1;  // of the sample's own target
    bool cuts = false;
    Box box = {};  // where it cuts
  };
  /// For images [H, W, C].
  Blend blend(uint64_t seed, int64_t step, int64_t position, const Shape& shape) const;
  /// The position of the sample that the one at `position` is blended with: a permutation of the batch's `samples`.
  static int64_t partner(uint64_t seed, int64_t step, int64_t position, int64_t samples);
};

/// Changes an image as the blend says.
void blend_images(const Mix::Blend& blend, std::span<float> image, std::span<const float> partner, const Shape& shape);
/// share * target + (1 - share) * partner.
void blend_targets(const Mix::Blend& blend, std::span<float> target, std::span<const float> partner);

/// A number of the distribution Beta(alpha, alpha), alpha above 0: a function of the other three. By Jöhnk ("Erzeugung
/// von betaverteilten und gammaverteilten Zufallszahlen", Metrika 8, 1964) up to 1, by algorithm BB of Cheng
/// ("Generating beta variates with nonintegral shape parameters", CACM 21, 1978) above.
double beta_variate(double alpha, uint64_t seed, int64_t step, int64_t position);

}  // namespace lockstep
