// Options that the command line does not give, from the environment and from a file: the command line wins over the
// environment, which wins over the file. Used by the main thread.
#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "launch/host/runtime.h"

namespace lockstep::cli {

/// Fills what `verb` was not given: from LOCKSTEP_<OPTION> (an empty one counts as none), then from the JSON file of
/// --config, whose keys are the options' long names, or which has such an object under the key "options", as a run's
/// manifest has; then data and weights from the run of --run. What is another command's option is left to that one.
/// Throws InputError for a name that no command has, with the nearest one, and for a value that does not fit, each with
/// its place.
void complete_settings(CLI::App& verb, const CLI::App& program);

/// The long names of the options that decide which images, of which values, are trained on.
const std::vector<std::string>& data_settings();

/// The values of `verb`'s options as --config takes them: given ones, and those that have a default.
nlohmann::ordered_json settings_json(const CLI::App& verb);

/// Of the options that `settings`, as settings_json gives them, has not: false for a switch, null for others. Without those of optimizers and
/// schedules, of which each has some.
nlohmann::ordered_json unset_json(const CLI::App& verb, const nlohmann::ordered_json& settings);

/// Throws InputError, on every rank, where the settings are not those of rank 0: an environment or a file need not be
/// alike on all hosts.
void check_settings_alike(const nlohmann::ordered_json& settings, Runtime& runtime);

/// What the option takes: "a whole number", "auto|cpu|cuda".
std::string expected(const CLI::Option& option);
/// "--batch is 'x', expected a whole number"
std::string misfit(const CLI::Option& option, const std::string& value);

}  // namespace lockstep::cli
