// A data set whose images are shifted and scaled per channel as they are read. Immutable: any thread may read.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "launch/data/dataset.h"

namespace lockstep {

/// One mean and one standard deviation per channel, of values in [0, 1].
struct Normalisation {
  std::vector<float> mean, std;
};

/// Mean and population standard deviation over a data set, summed in double in the order of the samples, so that every
/// rank finds the same bits. Sets of more than 2^28 floats are measured over every k-th sample, the smallest k that
/// keeps within it. `workers` threads read; the bits do not depend on how many. A channel that is constant gets a
/// standard deviation of 1.
Normalisation measure(const Dataset& dataset, int workers = 1);

/// The same, of images that somebody reads for more than this. `add` may be called by several threads at once.
class Measuring {
 public:
  explicit Measuring(const Dataset& dataset);
  /// Every Nth sample is measured.
  int64_t stride() const { return stride_; }
  /// Once for each sample that can be read; those in between count for nothing.
  void add(int64_t index, std::span<const float> image);
  Normalisation result() const;

 private:
  size_t floats_, channels_;
  int64_t stride_;
  // By measured image and channel: added in the samples' order, whoever found them.
  std::vector<double> sums_, squares_;
  std::vector<uint8_t> added_;  // by measured image
};

/// "auto" measures `train`; "none" gives nothing; "MEAN/STD" or "M,M,M/S,S,S" (one a channel) is taken as it is.
/// Throws InputError that shows the form.
std::optional<Normalisation> parse_normalisation(const std::string& text, const Dataset& train, int workers = 1);

/// (x - mean) / std, per channel. Throws Error when the number of channels differs.
std::shared_ptr<const Dataset> normalised(std::shared_ptr<const Dataset> inner, Normalisation normalisation);

}  // namespace lockstep
