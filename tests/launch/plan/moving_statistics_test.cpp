// Batch norm's moving mean and variance are the global batch's, as PyTorch keeps them
// (tests/golden/make_statistics.py), however the batch is cut and shared; and the operator that merges what the lanes
// tell.
#include <nlohmann/json.hpp>

#include "core/step_state.h"
#include "launch/data/feed/feed.h"
#include "launch/plan/strategy_file.h"
#include "launch/train/device.h"
#include "launch/train/trainer.h"
#include "layers/normalization/moments.h"
#include "tests/launch/plan/model_parallel.h"
#include "tests/support/op_check.h"
#include "tests/support/source_files.h"

namespace lockstep::test {
namespace {

constexpr int64_t height = 3, width = 5, channels = 3, samples = 61, batch = 24, steps = 4;

/// The formula of make_statistics.py.
class Drifting final : public Dataset {
 public:
  int64_t size() const override { return samples; }
  Shape image_shape() const override { return {height, width, channels}; }
  int classes() const override { return 4; }
  int32_t read(int64_t index, std::span<float> image) const override {
    constexpr std::array offsets{0.0, 1000.0, -3.0};
    for (size_t i = 0; i < image.size(); ++i)
      image[i] = static_cast<float>(std::sin(0.7 * static_cast<double>(i) + static_cast<double>(index)) +
                                    0.25 * static_cast<double>(index) + offsets[i % channels]);
    return static_cast<int32_t>(index % 4);
  }
  std::string content_sha256() const override { return "drifting"; }
};

/// What it is fed is what its two norms see.
Network two_norms() {
  const Symbol image = Input({height, width, channels});
  const Symbol a = Flatten()(BatchNormalization({.momentum = 0.9F}).named("images")(image));
  const Symbol b = BatchNormalization({.momentum = 0.6F}).named("features")(Flatten()(image));
  return Network("two_norms", Dense(4, {.activation = Activation::softmax})(Concatenate()({a, b})));
}

Weights train(const StepOptions& step, Communicator& comm) {
  RankContext rank{comm, comm.rank(), comm.size(), "here"};
  const auto backend = on_cuda() ? BackendChoice::cuda : BackendChoice::cpu;
  const Device device = make_device({.backend = backend, .comm = CommChoice::local, .step = step}, rank, false);
  const Network network = two_norms();
  Trainer trainer(network, {.step = step, .optimizer = SGD{.lr = 1e-4F}, .seed = 5}, device.comm(rank), *device.backend,
                  device.kernels);
  const int ranks = trainer.mesh().data_ranks(), lanes = step.numerics == Numerics::fast ? ranks : step.lanes;
  BatchFeed feed(std::make_shared<Drifting>(), {.batch = batch,
                                                .lanes = lanes,
                                                .first_lane = int64_t{lanes} / ranks * trainer.mesh().data_rank(),
                                                .lane_count = lanes / ranks,
                                                .steps = steps});
  for (int64_t i = 0; i < steps; ++i) static_cast<void>(trainer.train(feed.next(), 1e-4F));
  Weights weights = trainer.variables().get();
  std::erase_if(weights, [](const auto& variable) { return variable.first.find("/moving_") == std::string::npos; });
  return weights;
}

Weights train(const StepOptions& step, int ranks) {
  auto comms = make_local(ranks);
  std::vector<Weights> all(comms.size());
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < comms.size(); ++rank)
    threads.emplace_back([&, rank] {
      try {
        all[rank] = train(step, *comms[rank]);
      } catch (const std::exception& error) {
        comms[rank]->abort(error.what());
        ADD_FAILURE() << error.what();
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const Weights& weights : all) EXPECT_EQ(weights, all[0]) << "ranks differ";
  return all[0];
}

const nlohmann::json& golden() {
  static const auto json = golden_json("statistics.json");
  return json;
}

bool near(const std::vector<float>& got, const nlohmann::json& expected) {
  if (got.size() != expected.size()) return false;
  // A lane's mean near 1000 is known to 3e-5, which counts twice where lanes lie apart.
  for (size_t i = 0; i < got.size(); ++i)
    if (!(std::abs(double{got[i]} - expected[i].get<double>()) <= 1e-4 * std::abs(expected[i].get<double>()) + 1e-5))
      return false;
  return true;
}

void expect_pytorchs(const Weights& kept, const std::string& how) {
  for (const char* norm : {"images", "features"}) {
    EXPECT_TRUE(near(kept.at(std::string(norm) + "/moving_mean"), golden()[norm]["mean"])) << how << ", " << norm;
    EXPECT_TRUE(near(kept.at(std::string(norm) + "/moving_variance"), golden()[norm]["variance"]))
        << how << ", " << norm << ": "
        << fmt::format("{}", fmt::join(kept.at(std::string(norm) + "/moving_variance"), " "));
  }
}

TEST(MovingStatistics, AreTheGlobalBatchsForEveryNumberOfLanesAndRanks) {
  for (const int lanes : {1, 2, 8}) {
    const Weights one = train({.batch = batch, .lanes = lanes}, 1);
    expect_pytorchs(one, fmt::format("{} lanes", lanes));
    for (int ranks = 2; ranks <= std::min(lanes, 4); ranks *= 2)
      EXPECT_EQ(train({.batch = batch, .lanes = lanes}, ranks), one) << lanes << " lanes, " << ranks << " ranks";
  }
}

TEST(MovingStatistics, AreAlikeForEveryPipeline) {
  const Weights one = train({.batch = batch, .lanes = 8}, 1);
  for (const auto& [strategy, ranks] : {std::pair{"stage=2", 2}, {"data=2,stage=2", 4}}) {
    StepOptions step{.batch = batch, .lanes = 8, .strategy = parse_strategy(strategy)};
    step.strategy.shard_optimizer = true;
    EXPECT_EQ(train(step, ranks), one) << strategy;
  }
}

TEST(MovingStatistics, AreAlikeForEveryStrategy) {
  for (const auto& [strategy, ranks] : {std::pair{"space_h=2", 2}, {"data=2,space_w=2", 4}, {"data=2,filter=2", 4}})
    expect_pytorchs(train({.batch = batch, .lanes = 8, .strategy = parse_strategy(strategy)}, ranks), strategy);
}

TEST(MovingStatistics, AreTheGlobalBatchsInFastMode) {
  for (const int ranks : {1, 2, 3, 4, 6})
    expect_pytorchs(train({.batch = batch, .numerics = Numerics::fast}, ranks), fmt::format("{} ranks", ranks));
}

TEST(MovingStatistics, NegativeControlOtherFormulasAreSeen) {
  const auto kept = train({.batch = batch, .lanes = 8}, 1).at("images/moving_variance");
  EXPECT_TRUE(near(kept, golden()["images"]["variance"]));
  for (const auto& [formula, variance] : golden()["others"].items()) EXPECT_FALSE(near(kept, variance)) << formula;
}

/// Moments of some values of each of 21 channels, in double and as the operator has them.
struct Sets {
  Sets(int parts, float offset) {
    for (int part = 0; part < parts; ++part) {
      // Another number of values each, and of the third none.
      const Buffer values = uniform({part == 2 ? 0 : 3 + 4 * part, 21}, static_cast<unsigned>(part) + 1, -1, 2);
      Buffer of_part(Type{Shape{21 * 4}});
      const auto count = static_cast<double>(values.shape()[0]);
      for (size_t c = 0; c < 21; ++c) {
        double mean = 0, squares = 0;
        for (size_t i = c; i < values.as().size(); i += 21) mean += (double{values[i]} + double{offset}) / count;
        for (size_t i = c; i < values.as().size(); i += 21)
          squares += std::pow(double{values[i]} + double{offset} - mean, 2);
        const float kept[]{static_cast<float>(count), static_cast<float>(mean), static_cast<float>(squares)};
        std::copy_n(kept, 3, &of_part[4 * c]);
        for (size_t i = c; i < values.as().size(); i += 21) all[c].push_back(double{values[i]} + double{offset});
      }
      moments.push_back(of_part);
    }
    for (const auto& values : all) {
      const auto count = static_cast<double>(values.size());
      double mean = 0, squares = 0;
      for (const double v : values) mean += v / count;
      for (const double v : values) squares += (v - mean) * (v - mean);
      expected.insert(expected.end(), {count, mean, squares, 0});
    }
  }
  std::vector<double> all[21];
  std::vector<Buffer> moments;
  std::vector<double> expected;
};

Buffer merged(const Buffer& a, const Buffer& b, bool in_place = false) {
  return run_op(MergeMomentsOp(), {a, b}, in_place)[0];
}

TEST(MergeMoments, AreThoseOfAllValues) {
  for (const float offset : {0.0F, 3000.0F}) {
    const Sets sets(5, offset);
    Buffer sum = sets.moments[0];
    for (size_t i = 1; i < 5; ++i) sum = merged(sum, sets.moments[i], i % 2 == 0);
    EXPECT_TRUE(close(sum, sets.expected, 1e-6, offset > 0 ? 2e-3 : 1e-5)) << offset;
    sum[2] *= 1.01F;
    EXPECT_FALSE(close(sum, sets.expected, 1e-6, 2e-3));
  }
}

TEST(MergeMoments, OrderAndEmptySetsDoNotChangeBits) {
  const Sets sets(5, 2);
  EXPECT_TRUE(same_bits(merged(sets.moments[0], sets.moments[1]), merged(sets.moments[1], sets.moments[0])));
  EXPECT_TRUE(same_bits(merged(sets.moments[1], sets.moments[2]), sets.moments[1]));
  EXPECT_TRUE(same_bits(merged(sets.moments[2], sets.moments[1]), sets.moments[1]));
  const Buffer none(sets.moments[0].type());
  EXPECT_TRUE(same_bits(merged(none, none), none));
  Buffer broken = sets.moments[0];
  broken[1] = std::nanf("");
  EXPECT_TRUE(std::isnan(merged(broken, sets.moments[1])[1]) && std::isnan(merged(sets.moments[1], broken)[2]));
}

TEST(MergeMoments, Errors) {
  const auto refusal = [](Type a, Type b) {
    return error_of([&] { MergeMomentsOp().infer(std::vector<Type>{a, b}); });
  };
  EXPECT_EQ(refusal({Shape{8}}, {Shape{8}}), "");
  EXPECT_EQ(refusal({Shape{6}}, {Shape{6}}), "got f32[6], expected f32[n] of n / 4 moments");
  EXPECT_EQ(refusal({Shape{8}}, {Shape{4}}), "the second input is f32[4], expected f32[8]");
}

}  // namespace
}  // namespace lockstep::test
