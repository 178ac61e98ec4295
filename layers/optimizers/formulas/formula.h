// What an update formula is, and what it is given. A formula changes one element of a flat range; the loops around it,
// one a backend, are in layers/cpu/optimizers/update.cpp and layers/cuda/optimizers/update.cu. Plain data; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "layers/base/regularizer.h"

namespace lockstep {

/// What a formula is given beside its element. Sums over the batch are divided by `count`.
struct Numbers {
  float lr = 0, count = 1;
  float decay = 0;  // the formula's weight_decay; 0 in a stretch that is excluded
  float ratio = 1;  // what the formula's `ratio` made of the norms; 1 in a stretch that is excluded
  Regularizer penalty = {};
  float scalar[2] = {0, 0};  // the formula's own, once a step
};

/// What the loops need to know of a formula F, its F::traits. A formula has
///   update(V& value, V gradient, V* slot, const Numbers&, Math)   V is float or a vector of floats
///   check()                                 throws InputError where an option is out of range
///   slot_names()                            the variables kept beside each value, as they are handed to update
///   scalar(k, lr, t, Math)                  where traits.scalars > k; t counts steps from 1
///   ratio(value norm, gradient norm, count) where traits.adapts
///   idle(step)                              optional: whether the step changes nothing
/// and is copied to the device. Math has root(V) and power(double, double). Only + - * /, comparisons and root are
/// used on elements: they round alike in vectors and alone, so a range may be cut anywhere.
struct FormulaTraits {
  int slots = 0;           // at most
  int optional_slots = 0;  // of these
  int scalars = 0;         // at most two
  bool of_sums = true;     // what is handed over as the gradient is a sum over the batch, and is made a mean
  bool adapts = false;     // needs the norms of whole variables
};

/// Part of a range: a variable, or several that are treated alike. Elements, from the range's begin on.
struct Stretch {
  int64_t begin = 0, end = 0;
  bool excluded = false;  // from weight decay and adaptation
  int norm = 0;           // its variable's place among the norms
  Regularizer penalty = {};
};

/// Each throws InputError: "sgd: got momentum 2, expected …".
void expect_share(std::string_view formula, std::string_view option, float value);  // 0 <= value < 1
void expect_from_zero(std::string_view formula, std::string_view option, float value);
void expect_above_zero(std::string_view formula, std::string_view option, float value);

}  // namespace lockstep
