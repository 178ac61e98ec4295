// How the learning rate changes over a run.
#pragma once

#include <cstdint>
#include <string>

namespace lockstep {

/// A learning rate as a function of the step. Plain data; any thread.
struct Schedule {
  enum class Decay {
    constant,
    step,    // a tenth from the middle on, a hundredth in the last quarter: He et al., CVPR 2016, section 4.2
    linear,  // to 0 at the end of the run
    cosine,  // to 0 along half a cosine: Loshchilov and Hutter, "SGDR", ICLR 2017, equation 5, without restarts
  };
  Decay decay = Decay::constant;
  int64_t warmup = 0;  // the first so many steps rise linearly to the full rate: Goyal et al., arXiv:1706.02677, 2.2

  /// "constant", "step", "linear" or "cosine". Throws InputError with the nearest name.
  static Schedule from_name(const std::string& name);
  std::string name() const;

  /// The rate of step `step` of `steps`, counted from 0, where `lr` is the full rate.
  float at(float lr, int64_t step, int64_t steps) const;
};

}  // namespace lockstep
