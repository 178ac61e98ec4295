// The measure that a callback watches, and which of two values of it is the better one. One thread.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "launch/train/callback.h"

namespace lockstep {

/// automatic: losses and errors are better lower, all else higher.
enum class MonitorMode { automatic, min, max };
std::string_view name_of(MonitorMode mode);

/// A measure in a callback's state, as text that gives the same number back, infinities too; null for none.
nlohmann::json measure_json(const std::optional<double>& value);
std::optional<double> measure_of(const nlohmann::json& json);

class Monitor {
 public:
  /// `owner` is the callback, for messages. Throws InputError where min_delta is no number from 0.
  Monitor(std::string owner, std::string name, MonitorMode mode, double min_delta);

  /// Throws InputError, with the nearest name, where epochs of this fit will not have the measure; `step` is a report
  /// of one of its steps.
  void check(const Training& training, const Report& step) const;
  /// None where this epoch was not validated.
  std::optional<double> of(const Report& epoch) const;
  /// Whether `value` is better than `than` by more than min_delta. Any number is better than none, NaN than nothing.
  bool better(double value, const std::optional<double>& than) const;

 private:
  std::string owner_, name_;
  bool lower_;
  double min_delta_;
};

}  // namespace lockstep
