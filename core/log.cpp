#include "core/log.h"

#include <spdlog/sinks/stdout_sinks.h>

#include <mutex>
#include <set>

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

void warn_once(const std::string& text) {
  static std::mutex mutex;
  static std::set<std::string> said;
  const std::lock_guard lock(mutex);
  if (said.insert(text).second) log().warn("{}", text);
}

const std::vector<std::string>& log_levels() {
  static const std::vector<std::string> names{"debug", "info", "warning", "error"};
  return names;
}

void set_log_level(const std::string& level) {
  static_cast<void>(index_of("log level", level, log_levels()));  // refuses others
  log().set_level(spdlog::level::from_str(level));
}

}  // namespace lockstep
