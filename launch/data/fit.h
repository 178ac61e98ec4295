// Which part of an image is taken, and how it is brought to another size. Any thread may call.
#pragma once

#include "launch/data/dataset.h"

namespace lockstep {

/// How an image is brought to another size.
struct Fit {
  enum class How : uint8_t {
    stretch,  // the whole image, whatever its proportions
    middle    // as much of its middle as has the result's proportions: see central_crop
  };
  int64_t height = 0, width = 0;
  int64_t shorter = 0;  // of the middle
  How how = How::stretch;

  /// The part of an image of so many rows and columns that is brought to height x width.
  Crop part(int64_t rows, int64_t columns) const;
  /// "middle 224x224 of the shorter side 256"
  std::string str() const;
  bool operator==(const Fit&) const = default;
};

/// A data set that knows what was done to its images.
class FittedImages : public Dataset {
 public:
  /// One after the other; none where they are as they came.
  virtual std::vector<Fit> fits() const = 0;
};

/// None of a set that does not know.
std::vector<Fit> fits_of(const Dataset& set);

}  // namespace lockstep
