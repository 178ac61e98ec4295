// An optimizer of a program's own, as a formula.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <utility>

#include "core/graph/kernel.h"
#include "layers/optimizers/formulas/formula.h"

namespace lockstep {

class UpdateOp;

/// What one update has to do: some elements of the parameters, in host memory.
struct CustomUpdate {
  std::span<float> values = {};
  std::span<const float> gradients = {};     // their means over the batch
  std::vector<std::span<float>> slots = {};  // as CustomOptimizer::slots
  std::span<const double> options = {};      // as CustomOptimizer::options
  float lr = 0;
  int64_t step = 1;       // counts from 1
  bool excluded = false;  // from weight decay: see CommonOptions::exclude_bias_and_norm
};

/// What `register_optimizer` makes known.
struct CustomOptimizer {
  std::string name;
  float lr = 0.001F;                                         // by default
  std::vector<std::pair<std::string, double>> options = {};  // names and defaults
  std::vector<std::string> slots = {};  // the variables kept beside each parameter; they begin as zeros
  bool excludes_bias_and_norm = false;  // by default
  /// Throws InputError where an option is out of range. None: all may be.
  std::function<void(std::span<const double> options)> check = {};
  /// Changes values and slots, each element by itself: which elements are in a call, and on how many threads calls run,
  /// differs with ranks and threads. Must not throw.
  std::function<void(const CustomUpdate&)> update;
  /// Makes the kernel for CUDA devices; inputs and outputs are UpdateOp's. None: such a run is refused.
  std::function<Kernel(const UpdateOp&, const Signature&)> cuda = {};
};

/// One of them with options of its own.
struct CustomFormula {
  std::shared_ptr<const CustomOptimizer> optimizer;
  std::string name;
  float lr = 0;
  std::vector<double> values;  // of optimizer->options
  bool excludes_bias_and_norm = false;

  explicit CustomFormula(std::shared_ptr<const CustomOptimizer> one)
      : optimizer(std::move(one)),
        name(optimizer->name),
        lr(optimizer->lr),
        excludes_bias_and_norm(optimizer->excludes_bias_and_norm) {
    for (const auto& [option, value] : optimizer->options) values.push_back(value);
  }

  static constexpr FormulaTraits traits{};
  template <class Self, class Visit>
  static void options(Self& self, Visit visit) {
    visit("lr", self.lr);
    for (size_t i = 0; i < self.values.size(); ++i) visit(self.optimizer->options[i].first, self.values[i]);
  }
  const std::vector<std::string>& slot_names() const { return optimizer->slots; }
  void check() const {
    if (optimizer->check) optimizer->check(values);
  }
};

}  // namespace lockstep
