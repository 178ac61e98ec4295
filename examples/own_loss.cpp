// A loss and a metric of one's own: the score of Brier ("Verification of forecasts expressed in terms of probability",
// 1950), sum_k (p_k - t_k)^2, and the mean probability that the network gives to the right class.
#include <algorithm>
#include <cstdio>

#include "core/step_state.h"
#include "launch/lockstep.h"
#include "layers/losses/loss_inputs.h"
#include "layers/optimizers/loss_scale.h"
#include "launch/testing/op_check.h"

using namespace lockstep;

namespace {

/// Inputs: probabilities f32[N, K], targets f32[N, K], lane_state and, where `scaled`, loss_scale. One of three
/// outputs: the sum of the samples' losses f32[1], its gradient f32[N, K], or the sum of the right classes'
/// probabilities f32[1].
class BrierOp final : public Op {
 public:
  enum class What { loss, gradient, probability };
  explicit BrierOp(What what, bool scaled = false) : what(what), scaled(scaled) {}
  std::string_view name() const override {
    return what == What::loss ? "brier" : what == What::gradient ? "brier_grad" : "probability";
  }
  std::vector<Type> infer(std::span<const Type> in) const override {
    expect_loss_inputs(in, in[0], scaled);
    return {what == What::gradient ? in[0] : Type{Shape{1}, DType::f32}};
  }
  // Samples may be on different ranks: then each has a term of the sum.
  std::vector<Rule> rules() const override {
    return {{loss_inputs(scaled), {what == What::gradient ? shard(0) : partial}}};
  }
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value>) const override {
    std::vector<Value> gradients(node.in.size());
    gradients[0] = graph.add1(node.name + "/grad", std::make_shared<BrierOp>(What::gradient, scaled), node.in);
    return gradients;
  }

  const What what;
  const bool scaled;
};

Kernel make_brier(const BrierOp& op, const Signature& signature) {
  return {.run = [what = op.what, scaled = op.scaled, shape = signature.in[0].shape](Stream&, const Args& args) {
    const float *p = args.in[0].as(), *t = args.in[1].as();
    float* out = args.out[0].as();
    // The lane's last samples may be padding, which must not count.
    const int64_t count = args.in[2].as<LaneState>()->valid * numbers_of_sample(shape);
    if (what == BrierOp::What::gradient) {
      const float scale = 2 * (scaled ? args.in[3].as<LossScale>()->scale : 1);
      for (int64_t i = 0; i < count; ++i) out[i] = scale * (p[i] - t[i]);
      std::fill(out + count, out + shape.elements(), 0.0F);
      return;
    }
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) {
      const double d = double{p[i]} - double{t[i]};
      sum += what == BrierOp::What::loss ? d * d : double{t[i]} * double{p[i]};
    }
    out[0] = static_cast<float>(sum);
  }};
}

void register_brier() {
  using What = BrierOp::What;
  register_kernel<BrierOp>("cpu", make_brier);
  register_loss({.name = "brier", .family = Loss::Family::classes, .op = [](bool scaled) {
                   return std::make_shared<BrierOp>(What::loss, scaled);
                 }});
  register_metric(
      {.name = "probability",
       .tally =
           [](const Loss&, const Shape&) {
             return Tally{.op = std::make_shared<BrierOp>(What::probability), .of_output = true};
           },
       .value = [](std::span<const double> sums, int64_t samples) { return sums[0] / static_cast<double>(samples); }});
}

}  // namespace

int main() {
  Runtime runtime;
  return runtime.guard([&] {
    register_brier();
    const std::string fault = test::gradient_fault(
        std::make_shared<BrierOp>(BrierOp::What::loss),
        {test::uniform({4, 3}, 1, 0, 1), test::uniform({4, 3}, 2, 0, 1), test::state_buffer(LaneState{0, 4})}, {0},
        {.loss = true});
    if (!fault.empty()) throw Error("brier: {}", fault);

    const Data digits = prepare_data("digits").data;
    Symbol x = Conv2D(16, {3, 3}, {.padding = Padding::same, .activation = Activation::relu})(Input({8, 8, 1}));
    x = Dense(10, {.activation = Activation::softmax})(Flatten()(MaxPooling2D({2, 2})(x)));
    Model model(Network("own_loss", x), runtime);
    model.compile({.optimizer = Adam{.lr = 0.005F}, .loss = "brier", .metrics = {"accuracy", "probability"}});
    model.fit(digits.train, {.epochs = 3, .run = {.batch = 32, .seed = 1}});
    const Evaluation result = model.evaluate(digits.test, {.batch = 32});
    if (runtime.rank() != 0) return;
    std::printf("test loss %.4f, accuracy %.2f %%, probability of the right class %.4f\nweights sha256 %s\n",
                result.loss, 100 * result.accuracy, result.metrics.at(1).values.at(0), model.weights_sha256().c_str());
  });
}
