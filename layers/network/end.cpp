#include "layers/network/end.h"

#include "layers/activations/activation.h"
#include "layers/activations/softmax.h"

namespace lockstep {

std::string end_of(const Graph& graph, Value output) {
  const int last = graph.info(output).producer;
  if (last < 0) return "";
  const Op* op = graph.node(last).op.get();
  if (dynamic_cast<const SoftmaxOp*>(op)) return "softmax";
  const auto* curve = dynamic_cast<const ActivationOp*>(op);
  return curve && curve->curve.kind == Curve::Kind::sigmoid ? "sigmoid" : "";
}

std::string end_of(const Network& network) {
  const Built built = network.build(1, 1, false);
  return end_of(built.graph, built.output);
}

}  // namespace lockstep
