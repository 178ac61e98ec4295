#include "core/plan/autodiff.h"

#include <algorithm>
#include <map>

#include "core/error.h"

namespace lockstep {

std::vector<Gradient> autodiff(Graph& graph, Value loss, const AddNode& add) {
  std::map<int, Value> gradients;  // by value id
  std::vector<Gradient> parameters;

  // Terms of one gradient are added on the earlier of the stages that made them: one of the two crosses over.
  const auto accumulate = [&](Value value, Value gradient, int stage) {
    if (!(graph.type(value) == graph.type(gradient)))
      throw Error("gradient of '{}' is {}, the value is {}", graph.info(value).name, graph.type(gradient).str(),
                  graph.type(value).str());
    // Some operators hand their own gradient on: it stays that of their output.
    if (!graph.info(gradient).primal) graph.set_primal(gradient, value);
    Value& known = gradients[value.id];
    if (known)
      graph.set_section({std::min(graph.stage_of(known, stage), graph.stage_of(gradient, stage)), Phase::backward});
    known = known ? add(graph, graph.info(value).name + "/grad_sum", known, gradient) : gradient;
    if (!graph.info(known).primal) graph.set_primal(known, value);
  };

  const int last = graph.info(loss).producer;
  if (last < 0) throw Error("the loss '{}' is not computed by any node", graph.info(loss).name);
  for (int i = last; i >= 0; --i) {
    const Node node = graph.node(i);  // a copy: backward adds nodes
    std::vector<Value> dy;
    if (i != last) {
      for (Value out : node.out) {
        const auto found = gradients.find(out.id);
        dy.push_back(found == gradients.end() ? Value{} : found->second);
      }
      if (std::ranges::none_of(dy, [](Value v) { return static_cast<bool>(v); })) continue;
    }
    graph.set_section({node.section.stage, Phase::backward});
    const auto dx = node.op->backward(graph, node, dy);
    if (dx.size() != node.in.size())
      throw Error("{}: operator {} gave {} gradients for {} inputs", node.name, node.op->name(), dx.size(),
                  node.in.size());
    for (size_t k = 0; k < dx.size(); ++k)
      if (dx[k]) accumulate(node.in[k], dx[k], node.section.stage);
  }
  graph.set_section({});

  for (const auto& [id, gradient] : gradients)
    if (graph.info({id}).role == Role::parameter) parameters.push_back({{id}, gradient});
  std::ranges::sort(parameters, {}, [&](const Gradient& g) { return graph.info(g.gradient).producer; });
  return parameters;
}

}  // namespace lockstep
