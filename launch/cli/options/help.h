// What --help prints of a command. Used by the main thread.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace lockstep::cli {

/// All options with what they do; of a command that has many, their names by topic, unless `words`, which were given
/// beside --help, name topics or "all". Throws InputError with the nearest topic.
std::string help_text(const CLI::App& verb, const std::vector<std::string>& words);

}  // namespace lockstep::cli
