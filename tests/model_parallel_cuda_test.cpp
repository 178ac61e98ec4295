// Model parallelism on GPUs: ranks that share one train as one rank does there.
#include "core/cuda/cuda.h"
#include "layers/ops.h"
#include "tests/model_parallel.h"

namespace lockstep::test {
namespace {

class ModelParallelOnGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_status().devices == 0) GTEST_SKIP() << "no GPU (CUDA: " << cuda_status().text << ")";
  }
};

Network small() {
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
  const Network network = small();
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

}  // namespace
}  // namespace lockstep::test
