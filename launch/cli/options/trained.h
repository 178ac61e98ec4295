// A trained model, as the folder of its run names it, or --model, --weights and --data. Used by the main thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/data/readers/open.h"
#include "layers/network/network.h"

namespace lockstep {
class Runtime;
}

namespace lockstep::cli {

struct Options;

/// The network that the run's manifest has. Throws InputError where the folder has none.
Network run_network(const std::string& run);
/// What was done to the images that the run was trained on, but for their normalisation. Throws InputError where its
/// manifest does not say.
Preparation run_preparation(const std::string& run);
/// The same with it, and with the names of the classes, as JSON.
std::string run_preparation_text(const std::string& run);

struct Trained {
  Network network;
  std::string normalise;                 // as parse_normalisation takes it; what "auto" has measured is told in numbers
  std::vector<std::string> class_names;  // by label; empty where the data has none
  std::optional<PreparedData> data;      // where it had to be opened
  ValueRange range;                      // of the images that it was trained on, before they were normalised
};

/// With --run nothing else is needed; else --data says what images and classes the model is for.
Trained open_trained(const Options& options, const Runtime& runtime);

}  // namespace lockstep::cli
