// Callbacks by the command line's options.
#include <charconv>

#include "core/error.h"
#include "launch/callbacks/csv_logger.h"
#include "launch/callbacks/early_stopping.h"
#include "launch/callbacks/model_checkpoint.h"
#include "launch/callbacks/reduce_lr_on_plateau.h"
#include "launch/callbacks/tensorboard.h"
#include "launch/cli/options/options.h"

namespace lockstep::cli {

namespace {

/// "FACTOR,PATIENCE"
ReduceLROnPlateauOptions plateau_options(const std::string& text) {
  ReduceLROnPlateauOptions options;
  const char* end = text.data() + text.size();
  const auto factor = std::from_chars(text.data(), end, options.factor);
  const bool comma = factor.ec == std::errc{} && factor.ptr != end && *factor.ptr == ',';
  const auto patience = std::from_chars(comma ? factor.ptr + 1 : end, end, options.patience);
  if (!comma || patience.ec != std::errc{} || patience.ptr != end)
    throw InputError("--reduce-on-plateau is '{}', expected FACTOR,PATIENCE, such as 0.1,5", text);
  return options;
}

}  // namespace

Callbacks callbacks(const Options& options, bool validates, bool goes_on) {
  const std::pair<const char*, bool> watch[] = {{"--early-stopping", options.early_stopping.has_value()},
                                                {"--reduce-on-plateau", !options.reduce_on_plateau.empty()},
                                                {"--checkpoint-best", options.checkpoint_best}};
  for (const auto& [name, given] : watch)
    if (given && !validates)
      throw InputError("{} watches the validation's loss, and there is none; expected --validation-split, such as 0.1",
                       name);
  const std::pair<const char*, bool> write[] = {
      {"--checkpoint-best", options.checkpoint_best}, {"--csv", options.csv}, {"--tensorboard", options.tensorboard}};
  for (const auto& [name, given] : write)
    if (given && options.out.empty()) throw InputError("{} writes into the run's folder; expected --out FOLDER", name);

  Callbacks all;
  if (options.early_stopping)
    all.push_back(std::make_shared<EarlyStopping>(
        EarlyStoppingOptions{.patience = *options.early_stopping, .restore_best_weights = true}));
  if (!options.reduce_on_plateau.empty())
    all.push_back(std::make_shared<ReduceLROnPlateau>(plateau_options(options.reduce_on_plateau)));
  if (options.checkpoint_best)
    all.push_back(std::make_shared<ModelCheckpoint>(options.out + "/best.safetensors",
                                                    ModelCheckpointOptions{.save_best_only = true}));
  if (options.csv)
    all.push_back(std::make_shared<CSVLogger>(options.out + "/log.csv", CSVLoggerOptions{.append = goes_on}));
  if (options.tensorboard)
    all.push_back(std::make_shared<TensorBoard>(options.out + "/tensorboard", TensorBoardOptions{.histogram_freq = 1}));
  return all;
}

}  // namespace lockstep::cli
