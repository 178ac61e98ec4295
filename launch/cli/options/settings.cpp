#include "launch/cli/options/settings.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>

#include "core/error.h"
#include "layers/network/json_lines.h"
#include "parallel/comm/gather.h"

namespace lockstep::cli {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view prefix = "LOCKSTEP_";
/// Variables that are no options: of NCCL's time limit, the module of CUDA, the build, the tests and the benchmarks.
constexpr std::array reserved{"LOCKSTEP_COMM_TIMEOUT", "LOCKSTEP_CUDA_MODULE", "LOCKSTEP_BUILD", "LOCKSTEP_BUNDLE",
                              "LOCKSTEP_PEER"};
constexpr std::array reserved_prefixes{"LOCKSTEP_TEST_", "LOCKSTEP_EMULATOR_", "LOCKSTEP_FUZZ_"};

bool is_flag(const CLI::Option& option) { return option.get_items_expected_max() == 0; }
bool is_list(const CLI::Option& option) { return option.get_items_expected_max() > 1; }

/// The long name, without dashes; empty for what has none: files, and what asks for no value, --help and --version.
std::string name_of(const CLI::Option& option) {
  const auto& names = option.get_lnames();
  return names.empty() || names[0] == "help" || names[0] == "version" ? "" : names[0];
}

std::string variable_of(const std::string& name) {
  std::string variable(prefix);
  for (const char letter : name)
    variable += letter == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
  return variable;
}

void collect_names(const CLI::App& app, std::vector<std::string>& names) {
  for (const CLI::Option* option : app.get_options())
    if (const std::string name = name_of(*option); !name.empty() && std::ranges::find(names, name) == names.end())
      names.push_back(name);
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) collect_names(*verb, names);
}

/// The long names of all commands' options.
std::vector<std::string> all_names(const CLI::App& program) {
  std::vector<std::string> names;
  collect_names(program, names);
  return names;
}

CLI::Option* find(CLI::App& verb, const std::string& name) { return verb.get_option_no_throw("--" + name); }

void set(CLI::Option& option, const std::vector<std::string>& values) {
  try {
    option.add_result(values);
    option.run_callback();
  } catch (const CLI::ConversionError&) {
    throw InputError("{}", misfit(option, fmt::format("{}", fmt::join(values, ","))));
  } catch (const CLI::ParseError& error) {
    throw InputError("{}", error.what());
  }
}

/// A value of the file, as the command line would have it.
std::string text_of(const CLI::Option& option, const Json& value) {
  if (is_flag(option) && !value.is_boolean()) throw InputError("expected true or false, got {}", value.dump());
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number() || value.is_boolean()) return value.dump();
  throw InputError("expected {}, got {}", is_list(option) ? "a list of texts or numbers" : "a text or a number",
                   value.dump());
}

void set_from_json(CLI::Option& option, const Json& value) {
  if (!is_list(option) || !value.is_array()) return set(option, {text_of(option, value)});
  std::vector<std::string> values;
  for (const Json& one : value) values.push_back(text_of(option, one));
  if (!values.empty()) set(option, values);
}

/// "LOCKSTEP_BATCH" and "64".
using Variable = std::pair<std::string, std::string>;

std::vector<Variable> variables() {
  std::vector<Variable> found;
  for (char** entry = environ; *entry; ++entry) {
    const std::string_view text(*entry);
    const size_t equals = text.find('=');
    if (!text.starts_with(prefix) || equals == std::string_view::npos) continue;
    found.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return found;
}

void refuse_unknown_variables(const CLI::App& program) {
  std::vector<std::string> known;
  for (const std::string& name : all_names(program)) known.push_back(variable_of(name));
  for (const auto& [variable, value] : variables()) {
    const auto begins = [&, &name = variable](const char* start) { return name.starts_with(start); };
    if (std::ranges::find(known, variable) != known.end() || std::ranges::find(reserved, variable) != reserved.end() ||
        std::ranges::any_of(reserved_prefixes, begins))
      continue;
    const std::string near = nearest(variable, known);
    throw InputError("environment variable {}: no command has an option of this name{}", variable,
                     near.empty() ? "" : fmt::format("; did you mean '{}'?", near));
  }
}

void complete_from_environment(CLI::App& verb) {
  for (const auto& [variable, value] : variables()) {
    if (value.empty()) continue;
    for (CLI::Option* option : verb.get_options()) {
      const std::string name = name_of(*option);
      if (name.empty() || variable_of(name) != variable || option->count() > 0) continue;
      try {
        set(*option, {value});
      } catch (const InputError& error) {
        throw InputError("environment variable {}: {}", variable, error.what());
      }
    }
  }
}

void complete_from_file(CLI::App& verb, const CLI::App& program, const std::string& path) {
  const JsonDocument document = JsonDocument::read(path);
  if (!document.root().is_object())
    throw InputError("{}: expected an object such as {{\"batch\": 64}}", document.where(""));
  const bool nested = document.root().contains("options") && document.root()["options"].is_object();
  const Json& settings = nested ? document.root()["options"] : document.root();
  const std::vector<std::string> known = all_names(program);
  for (const auto& [key, value] : settings.items()) {
    try {
      if (std::ranges::find(known, key) == known.end()) throw unknown("option", key, known);
      if (key == "config") throw InputError("one file cannot name another");
      if (CLI::Option* option = find(verb, key); option && option->count() == 0) set_from_json(*option, value);
    } catch (const InputError& error) {
      throw InputError("{}: {}", document.where((nested ? "/options" : "") + json_pointer_part(key)), error.what());
    }
  }
}

/// Data and weights as the run of this folder had them. Its model is in its manifest, which verbs read themselves.
void complete_from_run(CLI::App& verb, const std::string& run) {
  if (find(verb, "model")->count() > 0) throw InputError("--run '{}' has a model: expected no --model beside it", run);
  const JsonDocument manifest = JsonDocument::read(run + "/manifest.json");
  const Json& root = manifest.root();
  if (!root.is_object() || !root.contains("options") || !root["options"].is_object())
    throw InputError("{}: has no 'options', expected the manifest of a training run", manifest.file());
  const auto complete = [&](const std::string& name, const Json& value) {
    CLI::Option* option = find(verb, name);
    if (!option || option->count() > 0) return;
    try {
      set_from_json(*option, value);
    } catch (const InputError& error) {
      throw InputError("{}: {}", manifest.where("/options/" + name), error.what());
    }
  };
  const Json data = root.value("data", Json::object());
  if (data.contains("mean") && data.contains("std"))
    complete("normalise", fmt::format("{}/{}", fmt::join(data["mean"].get<std::vector<float>>(), ","),
                                      fmt::join(data["std"].get<std::vector<float>>(), ",")));
  std::vector<std::string> names = data_settings();
  for (const char* name : {"loss", "label-smoothing", "metrics"}) names.emplace_back(name);
  std::erase(names, "resize");  // of the preparation
  for (const std::string& name : names)
    if (root["options"].contains(name)) complete(name, root["options"][name]);
  const std::string weights = run + "/weights.safetensors";
  complete("weights", std::filesystem::exists(weights) ? weights : run);
}

/// As a number or truth where the option is one.
Json json_of(const CLI::Option& option, const std::string& text) {
  const std::string type = option.get_type_name();
  const bool number = type.starts_with("INT") || type.starts_with("UINT") || type.starts_with("FLOAT");
  if (is_flag(option)) return Json(CLI::detail::to_flag_value(text) > 0);
  const Json value = number ? Json::parse(text, nullptr, false) : Json(text);
  return value.is_discarded() ? Json(text) : value;  // "1." and "0x10" are numbers, but none of JSON's
}

/// What this rank was given otherwise than rank 0; empty where it is nothing.
std::string difference(const Json& mine, const Json& first) {
  for (const auto* settings : {&first, &mine})
    for (const auto& [key, value] : settings->items()) {
      const auto said = [&, &name = key](const Json& by) { return by.contains(name) ? by[name].dump() : "not given"; };
      if (said(mine) != said(first)) return fmt::format("{} is {}, on rank 0 {}", key, said(mine), said(first));
    }
  return "";
}

}  // namespace

const std::vector<std::string>& data_settings() {
  static const std::vector<std::string> names{"data",           "resize",     "normalise",        "channels",
                                              "channels-first", "on-corrupt", "validation-split", "seed"};
  return names;
}

std::string expected(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  if (is_flag(option)) return "true or false";
  if (type.starts_with("INT")) return "a whole number";
  if (type.starts_with("UINT")) return "a whole number from 0";
  if (type.starts_with("FLOAT")) return "a number";
  return type.starts_with("TEXT") ? "a text" : type;
}

std::string misfit(const CLI::Option& option, const std::string& value) {
  return fmt::format("--{} is '{}', expected {}", name_of(option), value, expected(option));
}

void complete_settings(CLI::App& verb, const CLI::App& program) {
  refuse_unknown_variables(program);
  complete_from_environment(verb);
  const CLI::Option* config = find(verb, "config");
  if (config && config->count() > 0) complete_from_file(verb, program, config->results().back());
  const CLI::Option* run = find(verb, "run");
  if (run && run->count() > 0) complete_from_run(verb, run->results().back());
}

Json settings_json(const CLI::App& verb) {
  Json settings = Json::object();
  for (const CLI::Option* option : verb.get_options()) {
    const std::string name = name_of(*option);
    if (name.empty() || name == "config") continue;
    const auto& given = option->results();
    if (given.empty()) {
      // CLI11 writes a list's default for people.
      if (!option->get_default_str().empty() && !is_list(*option))
        settings[name] = json_of(*option, option->get_default_str());
    } else if (is_list(*option)) {
      settings[name] = given;
    } else {
      settings[name] = json_of(*option, given.back());
    }
  }
  return settings;
}

Json unset_json(const CLI::App& verb, const Json& settings) {
  Json unset = Json::object();
  for (const CLI::Option* option : verb.get_options()) {
    const std::string name = name_of(*option), &group = option->get_group();
    if (name.empty() || name == "config" || group.empty() || group == "Optimizer" || settings.contains(name)) continue;
    unset[name] = is_flag(*option) ? Json(false) : Json();
  }
  return unset;
}

void check_settings_alike(const Json& settings, Runtime& runtime) {
  if (!runtime.distributed()) return;
  runtime.run(runtime.size(), [&](RankContext& rank) {
    InlineStream now;
    const std::string mine = settings.dump(-1, ' ', false, Json::error_handler_t::replace);
    std::string first = mine;
    uint64_t length = first.size();
    rank.comm.broadcast(reinterpret_cast<std::byte*>(&length), sizeof length, 0, now);
    first.resize(length);
    rank.comm.broadcast(reinterpret_cast<std::byte*>(first.data()), length, 0, now);
    std::array<char, 256> differs{};
    difference(Json::parse(mine), Json::parse(first)).copy(differs.data(), differs.size() - 1);
    const auto all = gather(rank.comm, differs);
    for (size_t other = 0; other < all.size(); ++other)
      if (all[other][0] != '\0')
        throw InputError("rank {} on {} has other options: {}; environment and files must be alike on all hosts", other,
                         runtime.hosts()[other], all[other].data());
  });
}

}  // namespace lockstep::cli
