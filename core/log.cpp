#include "core/log.h"

#include <spdlog/sinks/stdout_sinks.h>

#include <algorithm>

#include "core/error.h"

namespace lockstep {

spdlog::logger& log() {
  static spdlog::logger logger = [] {
    spdlog::logger made("lockstep", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made.set_pattern("%n: %l: %v");
    made.set_level(spdlog::level::warn);
    made.flush_on(spdlog::level::trace);
    return made;
  }();
  return logger;
}

void set_log_level(const std::string& level) {
  const std::vector<std::string> names{"debug", "info", "warning", "error"};
  if (std::ranges::find(names, level) == names.end()) throw unknown("log level", level, names);
  log().set_level(spdlog::level::from_str(level));
}

}  // namespace lockstep
