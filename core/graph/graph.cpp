#include "core/graph/graph.h"

#include <algorithm>

#include "core/error.h"

namespace lockstep {

Value Graph::source(std::string name, Type type, Role role) {
  if (find(name)) throw Error("the graph has a value named '{}' already", name);
  values_.push_back({std::move(name), type, role, -1, 0});
  return {static_cast<int>(values_.size()) - 1};
}

std::vector<Value> Graph::add(std::string name, std::shared_ptr<const Op> op, std::vector<Value> in) {
  std::vector<Type> types;
  for (Value value : in) types.push_back(type(value));
  std::vector<Type> results;
  try {
    results = op->infer(types);
  } catch (const InputError& error) {
    throw InputError("layer '{}': {}", name, error.what());
  }
  const int index = static_cast<int>(nodes_.size());
  Node node{std::move(name), std::move(op), std::move(in), {}, section_};
  for (size_t i = 0; i < results.size(); ++i) {
    node.out.push_back({static_cast<int>(values_.size())});
    std::string value_name = i == 0 ? node.name : fmt::format("{}:{}", node.name, i);
    values_.push_back({std::move(value_name), results[i], Role::activation, index, static_cast<int>(i)});
  }
  nodes_.push_back(std::move(node));
  return nodes_.back().out;
}

Value Graph::add1(std::string name, std::shared_ptr<const Op> op, std::vector<Value> in) {
  return add(std::move(name), std::move(op), std::move(in)).at(0);
}

int Graph::stage_of(Value value, int otherwise) const {
  const int producer = info(value).producer;
  return producer < 0 ? otherwise : nodes_[static_cast<size_t>(producer)].section.stage;
}

std::vector<int> Graph::readers(Value value) const {
  std::vector<int> found;
  for (size_t i = 0; i < nodes_.size(); ++i)
    if (std::ranges::find(nodes_[i].in, value) != nodes_[i].in.end()) found.push_back(static_cast<int>(i));
  return found;
}

Value Graph::find(std::string_view name) const {
  for (size_t i = 0; i < values_.size(); ++i)
    if (values_[i].producer < 0 && values_[i].name == name) return {static_cast<int>(i)};
  return {};
}

Graph Graph::without_nodes() const {
  Graph graph;
  graph.values_ = values_;
  for (ValueInfo& info : graph.values_) info.producer = -1;
  return graph;
}

void Graph::append(Node node) {
  for (Value value : node.out) values_.at(static_cast<size_t>(value.id)).producer = static_cast<int>(nodes_.size());
  nodes_.push_back(std::move(node));
}

void Graph::replace(int node, std::shared_ptr<const Op> op, std::vector<Value> in) {
  Node& target = nodes_.at(static_cast<size_t>(node));
  target.op = std::move(op);
  target.in = std::move(in);
}

void Graph::redirect(Value from, Value to) {
  for (Node& node : nodes_) std::ranges::replace(node.in, from, to);
}

void Graph::prune(std::span<const Value> keep) {
  std::vector<bool> needed(values_.size());
  for (Value value : keep) needed[static_cast<size_t>(value.id)] = true;
  std::vector<Node> kept;
  for (size_t i = nodes_.size(); i-- > 0;) {
    Node& node = nodes_[i];
    const bool live = std::ranges::any_of(node.out, [&](Value v) { return needed[static_cast<size_t>(v.id)]; });
    if (!live) continue;
    for (Value value : node.in) needed[static_cast<size_t>(value.id)] = true;
    kept.push_back(std::move(node));
  }
  std::ranges::reverse(kept);
  nodes_ = std::move(kept);
  for (size_t i = 0; i < nodes_.size(); ++i)
    for (Value value : nodes_[i].out) values_[static_cast<size_t>(value.id)].producer = static_cast<int>(i);
}

}  // namespace lockstep
