// What a program brings of its own, with kernels for CUDA devices: an operator and an optimizer train there as on the
// CPU.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/cuda/launch.cuh"
#include "core/step_state.h"
#include "launch/lockstep.h"
#include "layers/cuda/device.cuh"
#include "tests/launch/train/twice_op.h"
#include "tests/support/errors.h"

namespace lockstep::test {
namespace {

using cuda::blocks_for;
using cuda::launch;

__global__ void twice_kernel(const float* x, float* y, int64_t n) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) y[i] = 2 * x[i];
}

class OfTheCpuOp final : public TwiceOp {
 public:
  std::string_view name() const override { return "of_the_cpu"; }
};

Kernel twice_on_device(const Op&, const Signature& signature) {
  return {.run = [n = signature.in[0].shape.elements()](Stream& stream, const Args& args) {
    launch(stream, {blocks_for(n)}, twice_kernel, args.in[0].as(), args.out[0].as(), n);
  }};
}

/// v = decay v + mean gradient; p = p - lr v
__global__ void momentum_kernel(float* p, const float* sums, const StepState* step, float* v, float decay, int64_t n) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  v[i] = decay * v[i] + sums[i] / static_cast<float>(step->samples);
  p[i] = p[i] - step->lr * v[i];
}

CustomOptimizer momentum(const std::string& name, bool on_devices) {
  CustomOptimizer one{.name = name, .lr = 0.05F, .slots = {"v"}, .update = [](const CustomUpdate& now) {
                        for (size_t i = 0; i < now.values.size(); ++i) {
                          float& v = now.slots[0][i];
                          v = 0.9F * v + now.gradients[i];
                          now.values[i] = now.values[i] - now.lr * v;
                        }
                      }};
  if (on_devices)
    one.cuda = [](const UpdateOp&, const Signature& signature) {
      return Kernel{.run = [n = signature.in[0].shape.elements()](Stream& stream, const Args& args) {
        launch(stream, {blocks_for(n)}, momentum_kernel, args.out[0].as(), args.in[1].as(), args.in[2].as<StepState>(),
               args.out[1].as(), 0.9F, n);
      }};
    };
  return one;
}

struct Trained {
  std::string sha256;
  Weights weights;
};

Trained train(BackendChoice backend, int ranks, const std::string& optimizer, std::shared_ptr<const Op> op) {
  Runtime runtime;
  Symbol x = Dense(16, {.activation = Activation::relu})(Flatten()(Input({8, 8, 1})));
  x = Dense(10, {.activation = Activation::softmax})(OpLayer(std::move(op))(x));
  Model model(Network("own", x), runtime);
  model.compile({.optimizer = Optimizer::from_name(optimizer)});
  model.fit(prepare_data("digits").data.train,
            {.steps = 6, .run = {.batch = 16, .lanes = 2, .ranks = ranks, .seed = 5, .backend = backend}});
  return {model.weights_sha256(), model.weights()};
}

TEST(OwnOnDevices, OperatorAndOptimizerTrainThere) {
  const auto op = std::make_shared<TwiceOp>();
  register_kernel<TwiceOp>("cpu", twice);
  register_kernel<OfTheCpuOp>("cpu", twice);
  register_kernel<TwiceOp>("cuda", twice_on_device);
  register_optimizer(momentum("everywhere", true));
  register_optimizer(momentum("cpu_alone", false));
  const Trained cpu = train(BackendChoice::cpu, 1, "everywhere", op);
  const Trained device = train(BackendChoice::cuda, 1, "everywhere", op);
  EXPECT_EQ(train(BackendChoice::cuda, 2, "everywhere", op).sha256, device.sha256);
  for (const auto& [name, values] : cpu.weights)
    for (size_t i = 0; i < values.size(); ++i)
      ASSERT_NEAR(device.weights.at(name)[i], values[i], 1e-5 + 1e-4 * std::abs(values[i])) << name << " " << i;
  EXPECT_GT(std::abs(train(BackendChoice::cuda, 1, "sgd", op).weights.at("dense/kernel")[0] -
                     device.weights.at("dense/kernel")[0]),
            1e-5F)
      << "negative control";
  EXPECT_TRUE(says(error_of([&] { train(BackendChoice::cuda, 1, "cpu_alone", op); }),
                   {"'cpu_alone' has no kernel for CUDA devices"}));
  EXPECT_TRUE(says(error_of([] { train(BackendChoice::cuda, 1, "sgd", std::make_shared<OfTheCpuOp>()); }),
                   {"no kernel of the operator 'of_the_cpu' for the backend cuda", "only for cpu"}));
}

}  // namespace
}  // namespace lockstep::test
