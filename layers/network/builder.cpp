#include <fmt/format.h>

#include "core/step_state.h"
#include "layers/activations/activation.h"
#include "layers/activations/relu.h"
#include "layers/activations/softmax.h"
#include "layers/reshaping/cast.h"

namespace lockstep {

void Builder::enter(std::string layer, uint32_t index) {
  layer_ = std::move(layer);
  layer_index_ = index;
}

std::string Builder::full_name(std::string_view suffix) const {
  return suffix.empty() ? layer_ : fmt::format("{}/{}", layer_, suffix);
}

Value Builder::source(std::string_view suffix, Type type, Role role) {
  return graph_.source(full_name(suffix), type, role);
}

Value Builder::parameter(std::string_view suffix, Shape shape, Initializer initializer, Regularizer regularizer) {
  variables_.push_back({full_name(suffix), shape, initializer, true, regularizer});
  return graph_.source(variables_.back().name, {shape, DType::f32}, Role::parameter);
}

Value Builder::state(std::string_view suffix, Shape shape, float initial) {
  variables_.push_back({full_name(suffix), shape, {Initializer::Kind::constant, initial}, false});
  return graph_.source(variables_.back().name, {shape, DType::f32}, Role::state);
}

Value Builder::step_state() {
  const Value known = graph_.find("step_state");
  return known ? known : graph_.source("step_state", step_state_type(), Role::step_input);
}

Value Builder::lane_state() {
  const Value known = graph_.find("lane_state");
  return known ? known : graph_.source("lane_state", lane_state_type(lanes_), Role::lane_input);
}

std::vector<Value> Builder::add(std::string_view suffix, std::shared_ptr<const Op> op, std::vector<Value> in) {
  return graph_.add(full_name(suffix), std::move(op), std::move(in));
}

Value Builder::add1(std::string_view suffix, std::shared_ptr<const Op> op, std::vector<Value> in) {
  return add(suffix, std::move(op), std::move(in)).at(0);
}

Value Builder::cast(Value x, DType to) {
  return type(x).dtype == to ? x : add1("cast", std::make_shared<CastOp>(to), {x});
}

Value Builder::softmax(std::string_view suffix, Value x) {
  return add1(suffix, std::make_shared<SoftmaxOp>(), {cast(x, DType::f32)});
}

Value Builder::activate(Value x, Activation activation) {
  switch (activation) {
    case Activation::linear:
      return x;
    case Activation::relu:
      return add1("relu", std::make_shared<ReluOp>(), {x});
    case Activation::softmax:
      return softmax("softmax", x);
    default:
      return add1(name_of(activation), std::make_shared<ActivationOp>(curve_of(activation)), {x});
  }
}

void Builder::track(Value mean, Value variance, Value moments, float momentum) {
  tracked_.push_back({mean, variance, moments, momentum});
}

}  // namespace lockstep
