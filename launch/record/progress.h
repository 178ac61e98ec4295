// Tells the user how training goes: one line that is redrawn on a terminal, plain lines elsewhere. One thread uses it.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "launch/train/report.h"

namespace lockstep {

struct ProgressOptions {
  std::FILE* out = stdout;
  std::optional<bool> terminal = std::nullopt;  // whether to redraw; empty: where `out` is a terminal
  bool quiet = false;                           // prints nothing
  int64_t steps = 0;                            // of the whole run
  int64_t first_step = 0;                       // where a restart begins
  double interval = 10;                         // seconds between plain lines; a terminal is redrawn every 0.1 s
  std::function<double()> clock = {};           // seconds from any start; empty: a steady clock
};

class Progress {
 public:
  explicit Progress(ProgressOptions options);

  /// Shows a step, with the means of its epoch so far, where the last one shown is long enough ago.
  void step(const Report& report);
  /// Shows how far the validation after an epoch is, likewise.
  void validation(const Report& report, int64_t done, int64_t steps);
  /// Shows the epoch on a line that stays.
  void epoch(const Report& report);
  /// A line of its own, above the bar.
  void line(std::string_view text);

 private:
  /// Whether the last line is long enough ago; then the next counts from now.
  bool due();
  void show(const std::string& drawn, const std::string& plain);
  void clear();

  ProgressOptions options_;
  bool terminal_;
  double start_, last_;
  bool drawn_ = false;
};

/// "12 s", "3 min 05 s", "2 h 07 min"
std::string duration(double seconds);

}  // namespace lockstep
