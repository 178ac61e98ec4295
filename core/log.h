// What a run has to say beside its results, on stderr: "lockstep: warning: …". Any thread may call.
#pragma once

#include <spdlog/logger.h>

#include <string>
#include <vector>

namespace lockstep {

/// The one logger of the process: log().warn("{} ranks share {} cores", …).
spdlog::logger& log();

/// A warning that a process gives once, however often it comes up.
void warn_once(const std::string& text);

/// Shows messages from `level` on: debug, info, warning (as at the start) or error.
/// Throws InputError with the nearest name.
void set_log_level(const std::string& level);
const std::vector<std::string>& log_levels();

}  // namespace lockstep
