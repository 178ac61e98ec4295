// A network as its training step sees it, before there is a step: its layers in stages, its variables on the mesh. One
// rank's thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "launch/plan/step_options.h"
#include "launch/plan/variables.h"

namespace lockstep {

/// Built and fused once, when it is first needed, as one lane's training graph in f32.
class PlacedNetwork {
 public:
  /// For `ranks` ranks. Throws InputError as check_batch does, for pins of layers that there are not, and where stages
  /// do not go with the layers.
  PlacedNetwork(const Network& network, const StepOptions& options, int ranks);

  /// That of the options, with a stage for each layer where it has stages.
  const Strategy& strategy() const { return strategy_; }
  /// Where each variable lies on a mesh of this strategy: of those that are cut along some axis, and of all where
  /// layers have stages.
  Shards shards(const Mesh& mesh);
  /// Which layers each stage has, its share of the estimated work, and the share of time in which stages wait when each
  /// rank has so many lanes; empty where there are no stages.
  std::string describe_stages(int lanes);

 private:
  /// Returns what fuse_for does.
  std::map<std::string, std::string> build();
  Graph& graph();

  const Network& network_;
  Strategy strategy_;
  int64_t batch_;
  int lanes_;  // of all ranks
  std::optional<Built> built_;
};

}  // namespace lockstep
