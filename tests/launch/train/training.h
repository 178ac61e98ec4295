// Training as tests look at it: a small network of everything, trained step by step on one or more ranks, with a trace
// of what each step leaves.
#pragma once

#include <bit>
#include <optional>
#include <thread>

#include "launch/data/feed/feed.h"
#include "launch/data/readers/open.h"
#include "launch/train/device.h"
#include "launch/train/trainer.h"
#include "layers/ops.h"
#include "parallel/comm/local.h"

namespace lockstep::test {

/// The first `size` samples of another set: a short last batch after few steps.
class Head final : public Dataset {
 public:
  Head(std::shared_ptr<const Dataset> inner, int64_t size) : inner_(std::move(inner)), size_(size) {}
  int64_t size() const override { return size_; }
  Shape image_shape() const override { return inner_->image_shape(); }
  int classes() const override { return inner_->classes(); }
  Type target() const override { return inner_->target(); }
  void read_target(int64_t index, std::span<std::byte> target) const override { inner_->read_target(index, target); }
  int32_t read(int64_t index, std::span<float> image) const override { return inner_->read(index, image); }
  std::string content_sha256() const override { return inner_->content_sha256(); }

 private:
  std::shared_ptr<const Dataset> inner_;
  int64_t size_;
};

inline std::shared_ptr<const Dataset> digits(int64_t size) {
  return std::make_shared<Head>(prepare_data("digits").data.train, size);
}

/// Everything that could go wrong in one net: batch norm with a residual, dropout, pooling, a branch, dense layers.
inline Network mixed_network() {
  const Symbol image = Input({8, 8, 1});
  Symbol x = Conv2D(8, {3, 3}, {.padding = Padding::same, .use_bias = false})(image);
  x = ReLU()(BatchNormalization()(x));
  Symbol y = BatchNormalization()(Conv2D(8, {3, 3}, {.padding = Padding::same})(x));
  x = ReLU()(Add()({y, x}));
  x = Concatenate()({MaxPooling2D({2, 2})(x), AveragePooling2D({2, 2})(x)});
  x = Dropout(0.3F)(Flatten()(x));
  x = Dense(24, {.activation = Activation::relu})(x);
  return Network("mixed", Dense(10, {.activation = Activation::softmax})(x));
}

struct RunSpec {
  int ranks = 1;
  int threads = 1;
  int lanes = 8;
  int64_t batch = 40, samples = 100, steps = 7;
  Numerics numerics = Numerics::reproducible;
  Optimizer optimizer = Adam{};
  uint64_t seed = 7;
  std::pair<int, int> swapped_lanes{0, 0};
  bool flip_bit = false;
  bool loss_scaling = false;
  std::optional<LossScale> first_scale = std::nullopt;
  bool cuda = false;  // on the first GPU, all ranks
  Precision precision = Precision::fp32;
  bool replay = true;  // of recorded steps, on a GPU
  CommChoice comm = CommChoice::local;
  bool keep_images = false;  // on the GPU
};

/// What a step leaves: its loss and a hash of variables, batch norm's statistics and the optimizer's variables.
struct StepTrace {
  uint32_t loss = 0;
  std::vector<float> sums;  // of metrics
  std::string hash;
  bool operator==(const StepTrace&) const = default;
};

inline void swap_lanes(Batch& batch, std::pair<int, int> lanes) {
  const auto [a, b] = lanes;
  if (a == b) return;
  const auto swap_parts = [&](auto& data) {
    const auto part = static_cast<ptrdiff_t>(data.size() / batch.lanes.size());
    std::swap_ranges(data.begin() + a * part, data.begin() + (a + 1) * part, data.begin() + b * part);
  };
  swap_parts(batch.images);
  swap_parts(batch.labels);
  swap_parts(batch.lanes);
  swap_parts(batch.rows);
  swap_parts(batch.targets);
}

inline void train_rank(const Network& network, const RunSpec& run, Communicator& comm, std::vector<StepTrace>& trace) {
  StepOptions step{.batch = run.batch, .lanes = run.lanes, .numerics = run.numerics, .precision = run.precision};
  if (run.loss_scaling) step.loss_scaling = true;
  RankContext rank{comm, comm.rank(), comm.size(), "here"};
  const Device device = make_device({.backend = run.cuda ? BackendChoice::cuda : BackendChoice::cpu,
                                     .comm = run.comm,
                                     .threads = run.threads,
                                     .step = step},
                                    rank, false);
  Trainer trainer(network, {.step = step, .optimizer = run.optimizer, .seed = run.seed, .replay = run.replay},
                  device.comm(rank), *device.backend, device.kernels);
  if (run.first_scale) trainer.variables().set_loss_scale(*run.first_scale);
  if (run.flip_bit) {
    Weights weights = trainer.variables().get();
    float& weight = weights.at("dense/kernel").at(3);
    weight = std::bit_cast<float>(std::bit_cast<uint32_t>(weight) ^ 1U);
    trainer.variables().set(weights);
  }
  const int lanes = run.numerics == Numerics::fast ? comm.size() : run.lanes;
  const int own = lanes / comm.size();
  BatchFeed feed(digits(run.samples), {.batch = run.batch,
                                       .lanes = lanes,
                                       .first_lane = int64_t{own} * comm.rank(),
                                       .lane_count = own,
                                       .shuffle = true,
                                       .once = run.keep_images && trainer.keep_images(run.samples, run.ranks),
                                       .seed = run.seed,
                                       .steps = run.steps});
  for (int64_t i = 0; i < run.steps; ++i) {
    Batch batch = feed.next();
    swap_lanes(batch, run.swapped_lanes);
    const StepResult result = trainer.train(batch, run.optimizer.lr());
    trace.push_back({std::bit_cast<uint32_t>(result.loss), result.sums,
                     trainer.variables().sha256() + trainer.variables().slots_sha256()});
  }
}

/// The trace of every rank.
inline std::vector<std::vector<StepTrace>> train(const Network& network, const RunSpec& run) {
  auto comms = make_local(run.ranks);
  std::vector<std::vector<StepTrace>> traces(static_cast<size_t>(run.ranks));
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < comms.size(); ++rank)
    threads.emplace_back([&, rank] { train_rank(network, run, *comms[rank], traces[rank]); });
  for (std::thread& thread : threads) thread.join();
  return traces;
}

}  // namespace lockstep::test
