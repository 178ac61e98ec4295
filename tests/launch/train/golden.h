// What tests against golden numbers share: the network, weights and batches of tests/golden/make_golden.py, by
// formulas.
#pragma once

#include <cmath>

#include "launch/data/feed/feed.h"
#include "launch/train/trainer.h"
#include "layers/ops.h"

namespace lockstep::test {

inline constexpr int64_t batch_size = 16;

/// The network with branches; `penalty` on its last two kernels.
inline Network branches_network(const Regularizer& penalty = {}) {
  const Size2 twice{2, 2};
  const Symbol stem =
      Conv2D(6, {3, 3}, {.padding = Padding::same, .activation = Activation::relu}).named("stem")(Input({8, 8, 1}));
  const Symbol a = Conv2D(6, {3, 3}, {.strides = twice, .padding = Padding::same}).named("a")(stem);
  const Symbol projection =
      Conv2D(6, {1, 1}, {.strides = twice, .padding = Padding::same, .use_bias = false}).named("projection")(stem);
  Symbol x = ReLU()(Add()({a, projection}));
  x = Concatenate()({MaxPooling2D(twice)(x), AveragePooling2D(twice)(x)});
  x = Conv2D(8, {1, 1}, {.activation = Activation::relu, .groups = 2, .kernel_regularizer = penalty}).named("mix")(x);
  return Network(
      "branches",
      Dense(10, {.activation = Activation::softmax, .kernel_regularizer = penalty}).named("out")(Flatten()(x)));
}

/// The formulas of make_golden.py.
inline Weights initial_weights(const Network& network) {
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

/// How the batch is cut.
struct Cut {
  int lanes = 1, ranks = 1;
  Numerics numerics = Numerics::reproducible;
};

inline Batch golden_batch(int64_t step, const Cut& cut, int rank) {
  Batch batch;
  const int64_t lane = batch_size / cut.lanes, own = cut.lanes / cut.ranks;
  const int64_t begin = rank * own * lane, end = begin + own * lane;
  for (int64_t i = begin * 64; i < end * 64; ++i)
    batch.images.push_back(static_cast<float>(static_cast<double>((i * 37 + step * 11) % 101) / 101));
  for (int64_t i = begin; i < end; ++i) batch.labels.push_back(static_cast<int32_t>((i * 7 + step) % 10));
  for (int64_t first = begin; first < end; first += lane) batch.lanes.push_back({first, lane});
  batch.samples = batch_size;
  batch.step = step;
  return batch;
}

}  // namespace lockstep::test
