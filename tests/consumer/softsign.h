// The consumer's own operator and layer: softsign, y = x / (1 + |x|).
#pragma once

#include <cmath>
#include <lockstep/lockstep.h>

/// dx = dy / (1 + |x|)^2, from (x, dy); forward y from x.
class SoftsignOp final : public lockstep::Op {
 public:
  explicit SoftsignOp(bool gradient = false) : gradient(gradient) {}
  std::string_view name() const override { return gradient ? "softsign_grad" : "softsign"; }
  std::vector<lockstep::Type> infer(std::span<const lockstep::Type> in) const override { return {in[0]}; }
  std::vector<lockstep::Rule> rules() const override { return lockstep::elementwise_rules(gradient ? 2 : 1); }
  std::vector<lockstep::Value> backward(lockstep::Graph& graph, const lockstep::Node& node,
                                        std::span<const lockstep::Value> dy) const override {
    return {graph.add1(node.name + "/grad", std::make_shared<SoftsignOp>(true), {node.in[0], dy[0]})};
  }

  const bool gradient;
};

class Softsign final : public lockstep::LayerOf<Softsign> {
 public:
  std::string_view type() const override { return "Softsign"; }
  std::string_view base_name() const override { return "softsign"; }
  void describe(lockstep::Fields&) override {}
  lockstep::Value build(lockstep::Builder& builder, std::span<const lockstep::Value> in) const override {
    return builder.add1("", std::make_shared<SoftsignOp>(), {in.begin(), in.end()});
  }
};

inline void register_softsign() {
  lockstep::register_kernel<SoftsignOp>("cpu", [](const SoftsignOp& op, const lockstep::Signature& signature) {
    return lockstep::Kernel{.run = [gradient = op.gradient, n = signature.in[0].shape.elements()](
                                       lockstep::Stream&, const lockstep::Args& args) {
      const float* x = args.in[0].as();
      for (int64_t i = 0; i < n; ++i) {
        const float d = 1 + std::abs(x[i]);
        args.out[0].as()[i] = gradient ? args.in[1].as()[i] / (d * d) : x[i] / d;
      }
    }};
  });
  lockstep::register_layer<Softsign>();
}
