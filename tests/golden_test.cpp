// Ten training steps against PyTorch's numbers, made by tests/golden/make_golden.py: forward, loss, every gradient,
// batch norm's statistics and the optimizers at once.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "launch/trainer.h"
#include "layers/cpu/kernels.h"
#include "layers/ops.h"
#include "parallel/comm/local.h"

namespace lockstep {
namespace {

constexpr int64_t batch_size = 16;

Network golden_network() {
  return Sequential("golden", Input({8, 8, 1}),
                    Conv2D(4, {3, 3}, {.padding = Padding::same, .activation = Activation::relu}), MaxPooling2D({2, 2}),
                    Conv2D(8, {3, 3}, {.use_bias = false}), BatchNormalization(), ReLU(), Flatten(),
                    Dense(16, {.activation = Activation::relu}), Dense(10, {.activation = Activation::softmax}));
}

/// The formulas of make_golden.py.
Weights initial_weights(const Network& network) {
  Weights weights;
  int index = 0;
  for (const Variable& variable : network.variables()) {
    auto& values = weights[variable.name];
    values.assign(static_cast<size_t>(variable.shape.elements()), variable.initializer.constant);
    if (!variable.trainable) continue;
    const auto fan = static_cast<double>(variable.shape.elements() / variable.shape[0]);
    for (size_t i = 0; i < values.size(); ++i) {
      const auto wave = static_cast<float>(std::sin(0.7 * static_cast<double>(i) + index));
      if (variable.name.ends_with("gamma"))
        values[i] = 1 + 0.1F * wave;
      else
        values[i] = wave * static_cast<float>(variable.shape.rank() == 1 ? 0.1 : std::sqrt(2 / fan));
    }
    ++index;
  }
  return weights;
}

Batch golden_batch(int64_t step) {
  Batch batch;
  for (int64_t i = 0; i < batch_size * 64; ++i)
    batch.images.push_back(static_cast<float>(static_cast<double>((i * 37 + step * 11) % 101) / 101));
  for (int64_t i = 0; i < batch_size; ++i) batch.labels.push_back(static_cast<int32_t>((i * 7 + step) % 10));
  batch.lanes = {{0, batch_size}};
  batch.samples = batch_size;
  batch.step = step;
  return batch;
}

/// The largest difference to the golden numbers, relative to 1 + |golden|; NaN counts as infinite.
double worst_difference(const std::string& key, const Optimizer& optimizer) {
  std::ifstream file(LOCKSTEP_SOURCE_DIR "/tests/golden/golden.json");
  const auto golden = nlohmann::json::parse(file)[key];
  const Network network = golden_network();
  const auto comm = make_local(1);
  const auto backend = make_cpu_backend(1);
  Trainer trainer(network, {{batch_size, 1, Numerics::reproducible}, optimizer, 0}, *comm[0], *backend, cpu_kernels());
  trainer.variables().set(initial_weights(network));
  double worst = 0;
  const auto compare = [&](double got, double want) {
    const double difference = std::abs(got - want) / (1 + std::abs(want));
    worst = difference <= worst ? worst : std::isnan(difference) ? INFINITY : difference;
  };
  for (size_t step = 0; step < golden["losses"].size(); ++step)
    compare(trainer.train(golden_batch(static_cast<int64_t>(step)), optimizer.lr()).loss,
            golden["losses"][step].get<double>());
  for (const auto& [name, values] : trainer.variables().get())
    for (size_t i = 0; i < values.size(); ++i) compare(values[i], golden["variables"][name].at(i).get<double>());
  return worst;
}

// Both sides sum in fp32 in orders of their own; ten steps amplify 1e-7 to a few 1e-6.
constexpr double tolerance = 5e-5;

TEST(Golden, AdamAgreesWithPyTorch) { EXPECT_LE(worst_difference("adam", Adam{.lr = 0.01F}), tolerance); }

TEST(Golden, MomentumAgreesWithPyTorch) {
  EXPECT_LE(worst_difference("momentum", SGD{.lr = 0.05F, .momentum = 0.9F, .weight_decay = 0.001F}), tolerance);
}

TEST(Golden, NegativeControlASlightlyOtherOptimizerIsSeen) {
  EXPECT_GT(worst_difference("adam", Adam{.lr = 0.0101F}), tolerance);
  EXPECT_GT(worst_difference("momentum", SGD{.lr = 0.05F, .momentum = 0.9F}), tolerance);
}

}  // namespace
}  // namespace lockstep
