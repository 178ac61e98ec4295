#include "launch/cli/verbs/resume.h"

#include <fmt/ranges.h>

#include <chrono>

#include "core/error.h"
#include "launch/cli/options/options.h"
#include "launch/cli/options/settings.h"
#include "launch/files/durable.h"
#include "launch/files/gzip.h"
#include "launch/host/stop.h"
#include "launch/record/checkpoint.h"
#include "launch/record/checkpoint_folder.h"
#include "launch/record/manifest.h"
#include "launch/record/metrics.h"

namespace lockstep::cli {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

/// Whether the run goes on in the folder that it began in.
bool in_place(const std::string& out, const std::optional<Resumed>& from) {
  std::error_code error;
  return from && !from->run.empty() && fs::equivalent(out, from->run, error);
}

void expect_no_checkpoints(const fs::path& folder) {
  const auto all = list_checkpoints(folder);
  if (!all.empty())
    throw InputError("'{}' holds checkpoints of another run ({} is there); to go on with it, --resume {}",
                     folder.string(), all.back().filename().string(), folder.string());
}

}  // namespace

std::optional<Resumed> resumed(const Options& options) {
  if (options.resume.empty()) return {};
  Resumed from{.checkpoint = find_checkpoint(options.resume)};
  const fs::path above = fs::absolute(from.checkpoint).parent_path();
  if (above.filename() == "checkpoints" && fs::exists(above.parent_path() / "manifest.json"))
    from.run = from.checkpoint.parent_path().has_parent_path() ? from.checkpoint.parent_path().parent_path()
                                                               : above.parent_path();
  return from;
}

namespace {

/// "; the run had --seed 5, this one has 6": which options of the data are others than in the folder of the run that
/// wrote the checkpoint.
std::string changed_data_options(const Resumed& from, const Options& options) {
  const auto& names = data_settings();
  const fs::path manifest = from.run / "manifest.json";
  const auto bytes = from.run.empty() ? std::vector<uint8_t>() : read_file(manifest);
  const Json before = Json::parse(bytes.begin(), bytes.end(), nullptr, false);
  if (!before.is_object() || !before.contains("options"))
    return fmt::format("; what is trained on depends on --{}", fmt::join(names, ", --"));
  const Json mine = Json::parse(options.settings);
  std::string text;
  for (const std::string& name : names) {
    const auto value = [&](const Json& of) { return of.contains(name) ? of[name].dump() : "none"; };
    const std::string then = value(before["options"]), now = value(mine);
    if (then != now) text += fmt::format("; --{} is {}, the run had {}", name, now, then);
  }
  return text.empty() ? "; the options are the same: the data itself has changed" : text;
}

}  // namespace

void resume(Model& model, const Resumed& from, const Dataset& data, const FitOptions& fit, const Options& options) {
  try {
    model.resume(from.checkpoint, data, fit);
  } catch (const OtherConfiguration& error) {
    const bool of_data = error.key.starts_with("data/") || error.key.starts_with("validation");
    throw InputError("{}{}", error.what(), of_data ? changed_data_options(from, options) : "");
  }
}

std::string run_folder(const Options& options, const std::optional<Resumed>& from) {
  return options.out.empty() && from ? from->run.string() : options.out;
}

void prepare_folders(const Options& options, const CheckpointOptions& checkpoints, const std::optional<Resumed>& from,
                     int64_t steps, bool within_epoch) {
  const std::string& out = options.out;
  const bool goes_on = in_place(out, from);
  if (!from) expect_no_checkpoints(checkpoints.directory);
  if (!out.empty() && !goes_on) expect_no_run(out);
  if (checkpoints.every_steps + checkpoints.every_epochs > 0) {
    std::error_code error;
    fs::create_directories(checkpoints.directory, error);
    if (error)
      throw InputError("the folder of checkpoints '{}' cannot be made: {}", checkpoints.directory.string(),
                       error.message());
  }
  if (out.empty() || !from || from->run.empty()) return;
  keep_metrics(from->run / "metrics.jsonl", fs::path(out) / "metrics.jsonl", steps, within_epoch);
  // The logger cuts it to what the checkpoint knows of it.
  if (const fs::path log = from->run / "log.csv"; options.csv && !goes_on && fs::exists(log)) {
    const auto bytes = read_file(log);
    write_atomically(fs::path(out) / "log.csv", {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  if (const fs::path events = from->run / "tensorboard"; options.tensorboard && !goes_on && fs::exists(events))
    fs::copy(events, fs::path(out) / "tensorboard", fs::copy_options::recursive);
}

void note_resumed(Json& manifest, const std::string& out, const Resumed& from, int64_t step) {
  Json all = Json::array();
  if (in_place(out, from)) {
    const auto bytes = read_file(fs::path(out) / "manifest.json");
    const Json before = Json::parse(bytes.begin(), bytes.end(), nullptr, false);
    if (!before.is_object()) throw InputError("{}/manifest.json: is not a JSON object", out);
    if (before.contains("started")) manifest["started"] = before["started"];
    all = before.value("resumed", all);
  }
  all.push_back(
      {{"time", utc(std::chrono::system_clock::now())}, {"checkpoint", from.checkpoint.string()}, {"step", step}});
  manifest["resumed"] = all;
}

Interruption::Interruption(const CheckpointOptions& checkpoints, int64_t step)
    : signal(StopSignals::name()), step(step) {
  if (signal.empty()) signal = "a signal to another rank";
  if (!checkpoints.directory.empty()) checkpoint = (checkpoints.directory / checkpoint_name(step)).string();
}

std::string Interruption::text(int64_t steps) const {
  return fmt::format("interrupted by {} after step {} of {}{}", signal, step, steps,
                     checkpoint.empty() ? "" : fmt::format("; to go on: --resume {}", checkpoint));
}

Json Interruption::json() const { return {{"signal", signal}, {"step", step}, {"checkpoint", checkpoint}}; }

}  // namespace lockstep::cli
