// Pass: joins nodes where one kernel does the work of several, before autodiff: a fused operator knows its own
// gradient.
#pragma once

#include <functional>
#include <map>

#include "core/graph/graph.h"

namespace lockstep {

/// Rewrites the forward graph, keeping the values `keep`:
///   relu → max_pool              one max_pool with relu: the maximum commutes with relu, and relu then works on the
///                                pooled image, forward and backward
///   conv2d, dense → relu         relu in the operator
///   batch_norm [→ add] → relu    one batch_norm (training and inference); also with a relu that has a top, as ReLU6
/// Only where nobody else reads the value in between. Removes what nothing needs any more.
/// A conv2d or dense takes a relu only where `takes` allows it, by the node's name. Returns, by the name of each node
/// that another took over, that one's.
std::map<std::string, std::string> fuse(Graph& graph, std::span<const Value> keep,
                                        const std::function<bool(const std::string&)>& takes = {});

}  // namespace lockstep
