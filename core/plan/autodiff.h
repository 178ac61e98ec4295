// Pass: adds the backward nodes to a forward graph.
#pragma once

#include <functional>

#include "core/graph/graph.h"

namespace lockstep {

struct Gradient {
  Value parameter, gradient;
};

/// Adds a node that computes a + b: a value that is read several times gets the sum of its gradients, in the order in
/// which backward makes them.
using AddNode = std::function<Value(Graph& graph, std::string name, Value a, Value b)>;

/// Reverse-mode differentiation from `loss`, the first output of a loss operator. Returns the gradient of each
/// parameter that the loss depends on, in the order in which backward completes them.
std::vector<Gradient> autodiff(Graph& graph, Value loss, const AddNode& add);

}  // namespace lockstep
