// How the learning rate changes over a run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace lockstep {

/// A learning rate as a function of the step, which is one update, however many batches it accumulates. Plain data; any
/// thread.
struct Schedule {
  enum class Decay {
    constant,
    step,    // a tenth from the middle on, a hundredth in the last quarter: He et al., CVPR 2016, section 4.2
    linear,  // to final_lr at the end of the run
    cosine,  // to final_lr along half a cosine: Loshchilov and Hutter, "SGDR", ICLR 2017, equation 5, without restarts;
             // PyTorch's CosineAnnealingLR, Keras' CosineDecay
    polynomial,       // final_lr + (lr - final_lr) * (1 - done)^power: Keras' and PyTorch's PolynomialDecay and -LR
    exponential,      // lr * decay_rate^(step / decay_steps): Keras' ExponentialDecay
    cosine_restarts,  // the cosine again and again, first in decay_steps, each time in t_mul as many: SGDR with
                      // restarts
    one_cycle,  // PyTorch's OneCycleLR with lr as max_lr and cosines (Smith and Topin, arXiv:1708.07120); momentum
                // stays
  };
  Decay decay = Decay::constant;
  int64_t warmup = 0;  // the first so many steps rise linearly to the full rate: Goyal et al., arXiv:1706.02677, 2.2
  double final_lr = 0;
  double power = 1;
  double decay_rate = 0.96;
  int64_t decay_steps = 0;  // 0: the run's, without warm-up
  double t_mul = 2;
  double pct_start = 0.3, div_factor = 25, final_div_factor = 1e4;

  /// "constant", "step", …: the names above. Throws InputError with the nearest name.
  static Schedule from_name(const std::string& name);
  static std::vector<std::string> names();
  std::string name() const;

  /// Calls visit(name, value) for each option that this decay has, warmup first.
  template <class Visit>
  void options(Visit visit) const {
    visit_all(*this, visit);
  }
  /// Sets an option by its name. Throws InputError where this decay has none of that name, or it is out of range.
  void set(const std::string& option, double value);

  /// Whether the rate of a step depends on how many steps the run has: not where the decay has a length of its own.
  bool depends_on_steps() const;
  /// The rate of step `step` of `steps`, counted from 0, where `lr` is the full rate.
  float at(float lr, int64_t step, int64_t steps) const;

 private:
  template <class Self, class Visit>
  static void visit_all(Self& self, Visit& visit) {
    visit("warmup", self.warmup);
    const Decay d = self.decay;
    if (d == Decay::linear || d == Decay::cosine || d == Decay::polynomial || d == Decay::cosine_restarts)
      visit("final_lr", self.final_lr);
    if (d == Decay::polynomial) visit("power", self.power);
    if (d == Decay::exponential) visit("decay_rate", self.decay_rate);
    if (d == Decay::exponential || d == Decay::cosine_restarts) visit("decay_steps", self.decay_steps);
    if (d == Decay::cosine_restarts) visit("t_mul", self.t_mul);
    if (d == Decay::one_cycle) {
      visit("pct_start", self.pct_start);
      visit("div_factor", self.div_factor);
      visit("final_div_factor", self.final_div_factor);
    }
  }
};

}  // namespace lockstep
