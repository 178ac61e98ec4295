// Model parallelism on GPUs: ranks that share one train as one rank does there.
#include "launch/backends/backends.h"
#include "launch/model/model.h"
#include "tests/launch/plan/model_parallel.h"

namespace lockstep::test {
namespace {

class ModelParallelOnGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (gpus().empty()) GTEST_SKIP() << "no GPU (" << gpu_status() << ")";
  }
};

Network small_images() {
  Symbol x = Input({9, 8, 3});
  x = Conv2D(8, {3, 3}, {.padding = Padding::same, .use_bias = false})(x);
  x = ReLU()(BatchNormalization()(x));
  x = MaxPooling2D({3, 3}, {.strides = {2, 2}, .padding = Padding::same})(x);
  x = Conv2D(8, {3, 3}, {.strides = {1, 2}, .padding = Padding::same, .activation = Activation::relu})(x);
  x = Dropout(0.3F)(x);
  x = GlobalAveragePooling2D()(x);
  return Network("small", Dense(10, {.activation = Activation::softmax})(x));
}

void train_by_all(Precision precision, double tolerance) {
  const Network network = small_images();
  StepOptions step{.batch = 4, .lanes = 2, .precision = precision};
  const Trained one = train_by(network, step, 3, 1, BackendChoice::cuda)[0];
  for (const auto& [strategy, ranks] : {std::pair{"space_h=2", 2},
                                        {"space_h=2,space_w=2", 4},
                                        {"filter=3", 3},
                                        {"channel=2", 2},
                                        {"data=2,filter=2", 4}}) {
    step.strategy = parse_strategy(strategy);
    const auto all = train_by(network, step, 3, ranks, BackendChoice::cuda);
    std::string worst;
    EXPECT_LE(difference(all[0].gradients, one.gradients, &worst), tolerance) << strategy << " " << worst;
    for (const Trained& rank : all) EXPECT_EQ(rank.sha256, all[0].sha256) << strategy;
    EXPECT_EQ(all[0].sha256, train_by(network, step, 3, ranks, BackendChoice::cuda)[0].sha256) << strategy;
  }
}

TEST_F(ModelParallelOnGpu, TrainsAsOneRankDoes) { train_by_all(Precision::fp32, 1e-5); }

// 16 bits keep 8 of a value's: sums that are rounded before they are added differ in the last of them.
TEST_F(ModelParallelOnGpu, TrainsAsOneRankDoesIn16Bits) { train_by_all(Precision::bf16, 5e-2); }

TEST_F(ModelParallelOnGpu, PipelinesHaveTheBitsOfOneRank) {
  const Network network = small_images();
  for (const bool scaled : {false, true}) {
    StepOptions step{.batch = 16, .lanes = 8};
    step.loss_scaling = scaled;
    const Trained one = train_by(network, step, 3, 1, BackendChoice::cuda)[0];
    for (const auto& [strategy, ranks] : {std::pair{"stage=2", 2}, {"stage=4", 4}, {"data=2,stage=2", 4}})
      for (const PipelineSchedule schedule : {PipelineSchedule::one_f_one_b, PipelineSchedule::gpipe}) {
        step.strategy = parse_strategy(strategy);
        step.strategy.schedule = schedule;
        for (const Trained& rank : train_by(network, step, 3, ranks, BackendChoice::cuda)) {
          EXPECT_EQ(rank.sha256, one.sha256) << strategy << " " << name_of(schedule);
          EXPECT_EQ(rank.losses, one.losses) << strategy << " " << name_of(schedule);
        }
      }
  }
}

TEST_F(ModelParallelOnGpu, ShardedOptimizersHaveTheBitsOfWholeOnes) {
  const Network network = small_images();
  for (const Precision precision : {Precision::fp32, Precision::bf16})
    for (const Optimizer& optimizer : {Optimizer(LAMB{.lr = 0.01F, .weight_decay = 0.1F}, {.global_clipnorm = 0.3F}),
                                       Optimizer(LARS{.lr = 2}, {.clipnorm = 0.1F})}) {
      StepOptions step{.batch = 8, .lanes = 8, .precision = precision};
      const Trained one = train_by(network, step, 2, 1, BackendChoice::cuda, optimizer)[0];
      step.strategy.shard_optimizer = true;
      for (const int ranks : {2, 8})
        for (const Trained& rank : train_by(network, step, 2, ranks, BackendChoice::cuda, optimizer))
          EXPECT_EQ(rank.sha256, one.sha256) << optimizer.name() << " " << ranks;
      // The control: an optimizer without norms ends elsewhere.
      EXPECT_NE(train_by(network, step, 2, 2, BackendChoice::cuda)[0].sha256, one.sha256);
    }
}

TEST_F(ModelParallelOnGpu, PipelinesEvaluateAndPredictAsOneRankDoes) {
  const Network network = small_images();
  const auto data = std::make_shared<Noise>(network.input_shape(), 10, 13);  // a short last batch
  Runtime runtime;
  Model model(network, runtime);
  model.compile({.optimizer = SGD{.lr = 0.05F}});
  RunOptions run{.batch = 8, .lanes = 4, .ranks = 1, .backend = BackendChoice::cuda, .comm = CommChoice::local};
  model.fit(data, {.epochs = 2, .run = run});
  const Evaluation one = model.evaluate(data, run);
  const auto predictions = model.predict(data, run);
  run.strategy = parse_strategy("stage=3");
  run.ranks = 3;
  EXPECT_EQ(model.evaluate(data, run).loss, one.loss);
  EXPECT_EQ(model.predict(data, run), predictions);
}

}  // namespace
}  // namespace lockstep::test
