// An optimizer of one's own: Lion (Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023,
// algorithm 2), which moves each parameter by the learning rate up or down, whatever the gradient's size.
//
//   c = beta_1 m + (1 - beta_1) g;  p = p - lr (sign(c) + weight_decay p);  m = beta_2 m + (1 - beta_2) g
#include <cstdio>

#include "launch/lockstep.h"

using namespace lockstep;

namespace {

float sign(float x) { return x > 0 ? 1.0F : x < 0 ? -1.0F : 0.0F; }

void lion(const CustomUpdate& now) {
  const auto beta_1 = static_cast<float>(now.options[0]), beta_2 = static_cast<float>(now.options[1]);
  const float decay = now.excluded ? 0 : static_cast<float>(now.options[2]);
  const std::span<float> m = now.slots[0];
  for (size_t i = 0; i < now.values.size(); ++i) {
    const float g = now.gradients[i], c = beta_1 * m[i] + (1 - beta_1) * g;
    now.values[i] -= now.lr * (sign(c) + decay * now.values[i]);
    m[i] = beta_2 * m[i] + (1 - beta_2) * g;
  }
}

void check(std::span<const double> options) {
  if (options[0] < 0 || options[0] >= 1) throw InputError("lion: got beta_1 {}, expected 0 <= beta_1 < 1", options[0]);
  if (options[1] < 0 || options[1] >= 1) throw InputError("lion: got beta_2 {}, expected 0 <= beta_2 < 1", options[1]);
}

}  // namespace

int main() {
  Runtime runtime;
  return runtime.guard([&] {
    register_optimizer({.name = "lion",
                        .lr = 1e-4F,
                        .options = {{"beta_1", 0.9}, {"beta_2", 0.99}, {"weight_decay", 0}},
                        .slots = {"m"},
                        .check = check,
                        .update = lion});
    Optimizer optimizer = Optimizer::from_name("lion");
    optimizer.set("lr", 5e-4);
    optimizer.set("weight_decay", 0.1);

    const Data digits = prepare_data("digits").data;
    const Symbol hidden = Dense(64, {.activation = Activation::relu})(Flatten()(Input({8, 8, 1})));
    Model model(Network("own_optimizer", Dense(10, {.activation = Activation::softmax})(hidden)), runtime);
    model.compile({.optimizer = optimizer});
    const RunOptions run{.batch = 32, .seed = 1};
    model.fit(digits.train, {.epochs = 10, .run = run});
    const Evaluation test = model.evaluate(digits.test, run);
    if (runtime.rank() != 0) return;
    std::printf("test accuracy %.2f %%\nweights sha256 %s\n", 100 * test.accuracy, model.weights_sha256().c_str());
  });
}
