// An operator of a program's own, its layer and its kernel for the CPU, for tests of what programs bring.
#pragma once

#include "launch/lockstep.h"
#include "layers/base/check.h"

namespace lockstep::test {

/// y = 2 x.
class TwiceOp : public Op {
 public:
  std::string_view name() const override { return "twice"; }
  std::vector<Type> infer(std::span<const Type> in) const override { return {in[0]}; }
  std::vector<Rule> rules() const override { return elementwise_rules(1); }
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override {
    return {graph.add1(node.name + "/grad", std::make_shared<TwiceOp>(), {dy[0]})};
  }
};
/// Of TwiceOp, or one that derives from it.
class OpLayer final : public LayerOf<OpLayer> {
 public:
  explicit OpLayer(std::shared_ptr<const Op> op = std::make_shared<TwiceOp>()) : op_(std::move(op)) {}
  std::string_view type() const override { return "Twice"; }
  std::string_view base_name() const override { return "twice"; }
  void describe(Fields&) override {}
  Value build(Builder& builder, std::span<const Value> in) const override {
    return builder.add1("", op_, {in.begin(), in.end()});
  }

 private:
  std::shared_ptr<const Op> op_;
};

inline Kernel twice(const Op&, const Signature& signature) {
  return {.run = [n = signature.in[0].shape.elements()](Stream&, const Args& args) {
    for (int64_t i = 0; i < n; ++i) args.out[0].as()[i] = 2 * args.in[0].as()[i];
  }};
}

}  // namespace lockstep::test
