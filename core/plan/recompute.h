// Pass: lets backward compute some of forward's values again, instead of keeping them from one to the other.
#pragma once

#include <functional>

#include "core/graph/graph.h"

namespace lockstep {

/// Chen et al., "Training deep nets with sublinear memory cost", 2016. The first `forward` nodes of the graph are the
/// forward pass. Where a later node reads a value that a node makes which `recomputed` names, that node runs once more,
/// after what it needs, right before the first that reads it: its value need not live in between. What it reads itself
/// is kept, or computed again likewise; so is what another stage of a pipeline has sent. Value ids stay valid.
void recompute(Graph& graph, size_t forward, const std::function<bool(const std::string& node)>& recomputed);

}  // namespace lockstep
