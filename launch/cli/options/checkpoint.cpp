// When checkpoints are written, and from which one a run goes on.
#include <CLI/CLI.hpp>
#include <charconv>

#include "core/error.h"
#include "launch/cli/options/options.h"

namespace lockstep::cli {

void add_checkpoint_options(CLI::App& verb, Options& options) {
  verb.option_defaults()->group("Checkpoints");
  verb.add_option("--checkpoint-every", options.checkpoint_every,
                  "Write a checkpoint every so many steps, or epochs: 500, 1epoch; SIGTERM and SIGINT write one, too");
  verb.add_option("--checkpoint-dir", options.checkpoint_dir, "Folder of the checkpoints (default: OUT/checkpoints)");
  verb.add_option("--keep", options.keep, "How many checkpoints stay, the newest")->capture_default_str();
  verb.add_option("--resume", options.resume,
                  "Go on from a checkpoint, or the newest in a folder or of a run: with the same options, on any "
                  "number of ranks");
}

CheckpointOptions checkpoints(const Options& options) {
  CheckpointOptions chosen{.directory = options.checkpoint_dir, .keep = options.keep};
  if (chosen.directory.empty() && !options.out.empty())
    chosen.directory = std::filesystem::path(options.out) / "checkpoints";
  if (options.keep < 1) throw InputError("--keep is {}, expected a number from 1", options.keep);
  const std::string& text = options.checkpoint_every;
  if (text.empty()) return chosen;
  int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, number);
  const std::string unit(stopped, end);
  if (error != std::errc{} || number < 1 || (!unit.empty() && unit != "epoch" && unit != "epochs"))
    throw InputError("--checkpoint-every is '{}', expected a number of steps such as 500, or of epochs such as 1epoch",
                     text);
  (unit.empty() ? chosen.every_steps : chosen.every_epochs) = number;
  if (chosen.directory.empty())
    throw InputError("--checkpoint-every {}: there is no folder for them, expected --out or --checkpoint-dir", text);
  return chosen;
}

}  // namespace lockstep::cli
