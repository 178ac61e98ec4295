// Some samples of a data set, and how training sets are split. Immutable: any thread may read.
#pragma once

#include <vector>

#include "launch/data/dataset.h"

namespace lockstep {

/// The samples `indices` of `inner`, in that order.
std::shared_ptr<const Dataset> subset(std::shared_ptr<const Dataset> inner, std::vector<int64_t> indices);

struct Split {
  std::shared_ptr<const Dataset> rest, held_out;
};

/// Holds out about `share` (above 0, below 1) of `data`: each sample by a random number of its key and the seed alone,
/// so that a sample stays on its side whatever is added or removed. Both parts keep the order. Throws InputError where
/// a part would be empty.
Split split(const std::shared_ptr<const Dataset>& data, float share, uint64_t seed);

/// Holds out `share` of each class, rounded to whole samples, but never all of it: those with the smallest of the same
/// random numbers. So where one sample of a class is added or removed, at most one other changes its side. Throws
/// InputError as well where the samples' targets are no classes.
Split stratified_split(const std::shared_ptr<const Dataset>& data, float share, uint64_t seed);

}  // namespace lockstep
