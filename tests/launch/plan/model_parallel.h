// Training by any strategy, as tests look at it: what one step's gradients and some steps' weights are, beside those of
// one rank.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "core/error.h"
#include "core/random.h"
#include "launch/data/feed/feed.h"
#include "launch/train/device.h"
#include "launch/train/trainer.h"
#include "layers/ops.h"
#include "parallel/comm/local.h"

namespace lockstep::test {

/// Images of noise with labels, a pure function of the index.
class Noise final : public Dataset {
 public:
  Noise(Shape image, int classes, int64_t size) : image_(image), classes_(classes), size_(size) {}
  int64_t size() const override { return size_; }
  Shape image_shape() const override { return image_; }
  int classes() const override { return classes_; }
  int32_t read(int64_t index, std::span<float> image) const override {
    const Random random(99, Purpose::initialise, 0);
    for (size_t i = 0; i < image.size(); ++i)
      image[i] = to_uniform(random.bits(static_cast<uint64_t>(index), i / 4)[i % 4]) - 0.5F;
    return static_cast<int32_t>(index % classes_);
  }
  std::string content_sha256() const override { return "noise"; }

 private:
  Shape image_;
  int classes_;
  int64_t size_;
};

/// A stem, a residual, both pools, a branch with concatenation, dense layers.
inline Network branched() {
  const Symbol image = Input({13, 11, 3});
  Symbol x = Conv2D(8, {3, 3}, {.padding = Padding::same, .use_bias = false})(image);
  x = ReLU()(BatchNormalization()(x));
  const Symbol y = BatchNormalization()(Conv2D(8, {3, 3}, {.padding = Padding::same, .use_bias = false})(x));
  x = ReLU()(Add()({y, x}));
  x = MaxPooling2D({3, 3}, {.strides = {2, 2}, .padding = Padding::same})(x);
  const Symbol a = Conv2D(8, {1, 1}, {.activation = Activation::relu})(x);
  const Symbol b = Conv2D(8, {3, 3}, {.padding = Padding::same, .activation = Activation::relu, .groups = 2})(x);
  x = Concatenate()({a, b, AveragePooling2D({3, 3}, {.strides = {1, 1}, .padding = Padding::same})(x)});
  x = Conv2D(12, {3, 3}, {.padding = Padding::same, .activation = Activation::relu, .dilation_rate = {2, 2}})(x);
  x = GlobalAveragePooling2D()(x);
  x = Dense(16, {.activation = Activation::relu})(x);
  return Network("branched", Dense(10, {.activation = Activation::softmax})(x));
}

/// Two convolutions, a pool, a dense layer: everything that moves can be told by hand.
inline Network small() {
  Symbol x = Input({12, 10, 3});
  x = Conv2D(8, {3, 3}, {.padding = Padding::same, .activation = Activation::relu})(x);
  x = Conv2D(8, {3, 3}, {.strides = {2, 2}, .padding = Padding::same, .activation = Activation::relu})(x);
  x = GlobalAveragePooling2D()(x);
  return Network("small", Dense(10, {.activation = Activation::softmax})(x));
}

/// The rest of the convolution family: explicit padding, depthwise and separable convolutions, and a decoder.
inline Network enlarging() {
  const Size2 twice{2, 2};
  Symbol x = ZeroPadding2D({{1, 2}, {0, 1}})(Input({11, 9, 3}));
  x = Conv2D(8, {3, 3}, {.padding = {{0, 1}, {1, 0}}, .activation = Activation::relu})(x);
  x = DepthwiseConv2D({3, 3}, {.strides = twice, .padding = 1})(x);
  x = SeparableConv2D(8, {5, 5}, {.padding = Padding::same})(x);
  const Symbol a = Conv2DTranspose(8, {3, 3}, {.strides = twice, .padding = 1, .output_padding = {1, 1}})(x);
  const Symbol b = UpSampling2D(twice, {.interpolation = Interpolation::bilinear})(x);
  x = Concatenate()({Add()({a, b}), UpSampling2D(twice)(x)});
  x = MaxPooling2D({3, 3}, {.strides = twice, .padding = 1})(x);
  x = Conv2DTranspose(8, {4, 2}, {.strides = twice, .padding = Padding::same})(x);
  return Network("enlarging", Dense(10, {.activation = Activation::softmax})(GlobalMaxPooling2D()(x)));
}

struct Trained {
  std::vector<float> losses;
  Weights gradients;  // of the first step, per sample
  Weights weights;    // in the end
  std::string sha256;
  size_t slot_bytes = 0;  // of the optimizer's variables that the rank keeps
};

/// Trains on the ranks of `comm`, one of which calls; momentum's first velocity is the gradient. With `nudged`, from
/// weights that are each one unit in the last place off: as far as rounding may take a network by itself.
inline Trained train_by(const Network& network, StepOptions step, int64_t steps, Communicator& comm,
                        BackendChoice backend = BackendChoice::cpu,
                        Optimizer optimizer = SGD{.lr = 0.05F, .momentum = 0.9F}, bool nudged = false) {
  RankContext rank{comm, comm.rank(), comm.size(), "here"};
  const Device device = make_device({.backend = backend, .comm = CommChoice::local, .step = step}, rank, false);
  Trainer trainer(network, {.step = step, .optimizer = optimizer, .seed = 5}, device.comm(rank), *device.backend,
                  device.kernels);
  const Shape image = network.input_shape();
  const auto data = std::make_shared<Noise>(image, static_cast<int>(network.output_shape()[0]), step.batch * 2 - 1);
  const int lanes = step.numerics == Numerics::fast ? trainer.mesh().data_ranks() : step.lanes;
  const int own = lanes / trainer.mesh().data_ranks();
  BatchFeed feed(data, {.batch = step.batch,
                        .lanes = lanes,
                        .first_lane = int64_t{own} * trainer.mesh().data_rank(),
                        .lane_count = own,
                        .seed = 5,
                        .steps = steps});
  if (nudged) {
    Weights weights = trainer.variables().get();
    for (auto& [name, values] : weights)
      for (float& x : values) x = std::nextafter(x, 2.0F);
    trainer.variables().set(weights);
  }
  Trained trained;
  for (int64_t i = 0; i < steps; ++i) {
    trained.losses.push_back(trainer.train(feed.next(), optimizer.lr()).loss);
    if (i == 0) trained.gradients = trainer.variables().get_slots().at(0);
  }
  trained.weights = trainer.variables().get();
  trained.slot_bytes = trainer.variables().memory().slots.bytes();
  trainer.variables().check_replicas();
  trained.sha256 = trainer.variables().sha256() + trainer.variables().slots_sha256();
  return trained;
}

/// On `ranks` threads: what each rank has.
inline std::vector<Trained> train_by(const Network& network, const StepOptions& step, int64_t steps, int ranks,
                                     BackendChoice backend = BackendChoice::cpu,
                                     Optimizer optimizer = SGD{.lr = 0.05F, .momentum = 0.9F}) {
  auto comms = make_local(ranks);
  std::vector<Trained> all(static_cast<size_t>(ranks));
  std::vector<std::exception_ptr> errors(static_cast<size_t>(ranks));
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < comms.size(); ++rank)
    threads.emplace_back([&, rank] {
      try {
        all[rank] = train_by(network, step, steps, *comms[rank], backend, optimizer);
      } catch (const std::exception& error) {
        errors[rank] = std::current_exception();
        comms[rank]->abort(error.what());
      }
    });
  for (std::thread& thread : threads) thread.join();
  // A rank whose peers have failed first says that; what they say comes first.
  std::exception_ptr last;
  for (const auto& error : errors) {
    if (!error) continue;
    try {
      std::rethrow_exception(error);
    } catch (const InputError&) {
      throw;
    } catch (...) {
      last = error;
    }
  }
  if (last) std::rethrow_exception(last);
  return all;
}

/// The largest difference of any variable's values, in units of its largest value; NaN where there is one.
inline double difference(const Weights& a, const Weights& b, std::string* worst = nullptr) {
  double largest = 0;
  for (const auto& [name, values] : a) {
    double scale = 1e-12, off = 0;
    const auto& others = b.at(name);
    for (size_t i = 0; i < values.size(); ++i) {
      if (std::isnan(values[i]) || std::isnan(others[i])) return NAN;
      scale = std::max(scale, std::abs(double{others[i]}));
      off = std::max(off, std::abs(double{values[i]} - double{others[i]}));
    }
    if (off / scale > largest) {
      largest = off / scale;
      if (worst) *worst = name;
    }
  }
  return largest;
}

}  // namespace lockstep::test
