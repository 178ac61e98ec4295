// An operator and a layer of one's own: softsign, y = x / (1 + |x|) (Bergstra et al., "Quadratic polynomials learn
// better image features", 2009). The layer is used in C++ and in a JSON model; the gradient is checked first.
#include <cmath>
#include <cstdio>

#include "launch/lockstep.h"
#include "layers/base/check.h"
#include "launch/testing/op_check.h"

using namespace lockstep;

namespace {

/// dx = dy / (1 + |x|)^2, from (x, dy).
class SoftsignGradOp final : public Op {
 public:
  std::string_view name() const override { return "softsign_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override {
    expect_count(in, 2);
    expect_f32(in[0]);
    expect_type(in[1], in[0], "dy");
    return {in[0]};
  }
  // Each element by itself: inputs and output may be cut alike, along any dimension.
  std::vector<Rule> rules() const override { return elementwise_rules(2); }
};

class SoftsignOp final : public Op {
 public:
  std::string_view name() const override { return "softsign"; }
  std::vector<Type> infer(std::span<const Type> in) const override {
    expect_count(in, 1);
    expect_f32(in[0]);
    return {in[0]};
  }
  std::vector<Rule> rules() const override { return elementwise_rules(1); }
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override {
    return {graph.add1(node.name + "/grad", std::make_shared<SoftsignGradOp>(), {node.in[0], dy[0]})};
  }
};

/// The layer has no options; one with options visits them in `describe`.
class Softsign final : public LayerOf<Softsign> {
 public:
  std::string_view type() const override { return "Softsign"; }
  std::string_view base_name() const override { return "softsign"; }
  void describe(Fields&) override {}
  Value build(Builder& builder, std::span<const Value> in) const override {
    return builder.add1("", std::make_shared<SoftsignOp>(), {in.begin(), in.end()});
  }
};

/// A kernel for each backend that it is to run on; here, for the CPU. It runs at each step and must not allocate.
void register_softsign() {
  register_kernel<SoftsignOp>("cpu", [](const SoftsignOp&, const Signature& signature) {
    return Kernel{.run = [n = signature.in[0].shape.elements()](Stream&, const Args& args) {
      const float* x = args.in[0].as();
      float* y = args.out[0].as();
      for (int64_t i = 0; i < n; ++i) y[i] = x[i] / (1 + std::abs(x[i]));
    }};
  });
  register_kernel<SoftsignGradOp>("cpu", [](const SoftsignGradOp&, const Signature& signature) {
    return Kernel{.run = [n = signature.in[0].shape.elements()](Stream&, const Args& args) {
      const float *x = args.in[0].as(), *dy = args.in[1].as();
      float* dx = args.out[0].as();
      for (int64_t i = 0; i < n; ++i) {
        const float d = 1 + std::abs(x[i]);
        dx[i] = dy[i] / (d * d);
      }
    }};
  });
  register_layer<Softsign>();
}

}  // namespace

int main() {
  Runtime runtime;
  return runtime.guard([&] {
    register_softsign();
    // Finite differences, as for Lockstep's own operators.
    const std::string fault =
        test::gradient_fault(std::make_shared<SoftsignOp>(), {test::uniform({2, 3, 3, 4}, 1, 0.1F, 2)}, {0});
    if (!fault.empty()) throw Error("softsign: {}", fault);

    // In C++: Dense(32)(Softsign()(x)). From JSON, by its type:
    const Network network = network_from_json(R"({"name": "own_operator", "layers": [
      {"type": "Input", "shape": [8, 8, 1]},
      {"type": "Conv2D", "filters": 16, "kernel_size": 3, "padding": "same"},
      {"type": "Softsign"},
      {"type": "MaxPooling2D"},
      {"type": "Flatten"},
      {"type": "Dense", "units": 10, "activation": "softmax"}]})",
                                              "own_operator.json");
    const Data digits = prepare_data("digits").data;
    Model model(network, runtime);
    model.compile({.optimizer = Adam{.lr = 0.005F}});
    model.fit(digits.train, {.epochs = 3, .run = {.batch = 32, .seed = 1}});
    const Evaluation result = model.evaluate(digits.test, {.batch = 32});
    if (runtime.rank() != 0) return;
    std::printf("test accuracy %.2f %%\nweights sha256 %s\n", 100 * result.accuracy, model.weights_sha256().c_str());
  });
}
