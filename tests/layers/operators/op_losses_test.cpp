// Every loss, its gradient and the metrics against PyTorch's numbers, made by tests/golden/make_losses.py, and against
// finite differences; with padding samples, pixels, ties and NaN.
#include <limits>
#include <nlohmann/json.hpp>

#include "core/step_state.h"
#include "layers/losses/element_loss.h"
#include "layers/losses/loss.h"
#include "layers/metrics/metric.h"
#include "layers/metrics/metric_ops.h"
#include "layers/optimizers/loss_scale.h"
#include "tests/support/op_check.h"
#include "tests/support/source_files.h"

namespace lockstep {
namespace {

using namespace test;

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t samples = 6, classes = 5;

const nlohmann::json& golden() {
  static const auto json = test::golden_json("losses.json");
  return json;
}

/// The formulas of make_losses.py.
Buffer wave(double frequency, double phase, double scale) {
  Buffer buffer(Type{Shape{samples, classes}});
  for (size_t i = 0; i < buffer.as().size(); ++i)
    buffer[i] = static_cast<float>(scale) * static_cast<float>(std::sin(frequency * static_cast<double>(i) + phase));
  return buffer;
}
Buffer logits() { return wave(0.7, 0.3, 3); }
Buffer values() { return wave(0.9, 2, 2); }
Buffer bits() {
  Buffer buffer = wave(2.1, 0.5, 1);
  for (float& x : buffer.as()) x = x > 0 ? 1.0F : 0.0F;
  return buffer;
}
Buffer weights() {
  Buffer buffer = wave(1.3, 1, 1);
  for (size_t row = 0; row < samples; ++row) {
    double sum = 0;
    for (size_t k = 0; k < classes; ++k) sum += std::exp(double{buffer[row * classes + k]});
    for (size_t k = 0; k < classes; ++k)
      buffer[row * classes + k] = static_cast<float>(std::exp(double{buffer[row * classes + k]}) / sum);
  }
  return buffer;
}
Buffer labels() {
  std::vector<int32_t> all;
  for (int64_t n = 0; n < samples; ++n) all.push_back(static_cast<int32_t>((n * 7 + 3) % classes));
  return filled(Type{Shape{samples}, DType::i32}, all);
}
Buffer lane(int64_t valid) { return state_buffer(LaneState{.first = 0, .valid = valid}); }

std::shared_ptr<const Op> gradient_of(const Op& op) {
  Graph graph;
  const Type x{Shape{samples, classes}};
  const Value in = graph.source("x", x, Role::activation);
  const Type target = op.name() == "cross_entropy" ? Type{Shape{samples}, DType::i32} : x;
  const bool scaled = op.attributes().ends_with("scaled");
  std::vector<Value> all{in, graph.source("t", target, Role::lane_input),
                         graph.source("lane", lane_state_type(1), Role::lane_input)};
  if (scaled) all.push_back(graph.source("scale", loss_scale_type(), Role::state));
  op.backward(graph, {.name = "loss", .op = nullptr, .in = all, .out = {}}, {});
  return graph.nodes().at(0).op;
}

struct Case {
  std::string key;
  Loss loss;
  Buffer targets;
};

std::vector<Case> cases() {
  return {
      {"sparse_categorical_crossentropy", "sparse_categorical_crossentropy", labels()},
      {"categorical_crossentropy", "categorical_crossentropy", weights()},
      {"categorical_crossentropy smoothed 0.1", CategoricalCrossentropy{.label_smoothing = 0.1F}, weights()},
      {"categorical_focal_crossentropy", "categorical_focal_crossentropy", weights()},
      {"categorical_focal_crossentropy gamma 0.5", CategoricalFocalCrossentropy{.alpha = 1, .gamma = 0.5F}, weights()},
      {"binary_crossentropy", "binary_crossentropy", bits()},
      {"binary_crossentropy smoothed 0.2", BinaryCrossentropy{.label_smoothing = 0.2F}, bits()},
      {"binary_focal_crossentropy", "binary_focal_crossentropy", bits()},
      {"binary_focal_crossentropy balanced",
       BinaryFocalCrossentropy{.apply_class_balancing = true, .alpha = 0.3F, .gamma = 1.5F}, bits()},
      {"mean_squared_error", "mse", values()},
      {"mean_absolute_error", "mae", values()},
      {"huber delta 0.7", Huber{.delta = 0.7F}, values()},
  };
}

TEST(Losses, AgreeWithPyTorch) {
  ASSERT_EQ(golden()["losses"].size(), cases().size());
  for (const auto& [key, loss, targets] : cases()) {
    SCOPED_TRACE(key);
    const auto expected = golden()["losses"][key];
    const std::vector<Buffer> in{logits(), targets, lane(samples)};
    const auto op = loss.op(false);
    EXPECT_TRUE(close(run_op(*op, in)[0], std::vector<double>{expected["sum"]}, 1e-6, 1e-6));
    EXPECT_TRUE(close(run_op(*gradient_of(*op), in)[0], expected["gradient"].get<std::vector<double>>(), 1e-6));
  }
}

TEST(Losses, NegativeControlAnotherOptionIsSeen) {
  const auto expected = golden()["losses"]["huber delta 0.7"];
  const std::vector<Buffer> in{logits(), values(), lane(samples)};
  const auto op = Loss(Huber{.delta = 0.71F}).op(false);
  EXPECT_FALSE(close(run_op(*op, in)[0], std::vector<double>{expected["sum"]}, 1e-6, 1e-6));
  EXPECT_FALSE(close(run_op(*gradient_of(*op), in)[0], expected["gradient"].get<std::vector<double>>(), 1e-6));
}

TEST(Losses, GradientsMatchFiniteDifferences) {
  for (const auto& [key, loss, targets] : cases()) {
    if (key == "mean_absolute_error") continue;  // has kinks
    for (int64_t valid : {samples, int64_t{4}})
      EXPECT_TRUE(gradient_matches(loss.op(false), {logits(), targets, lane(valid)}, {0}, {.step = 1e-2, .loss = true}))
          << key;
  }
}

TEST(Losses, SlopesInKinksAreAsInPyTorch) {
  const auto kinks = test::golden_json("activations.json")["kinks"];
  for (const auto& [key, loss] :
       {std::pair<std::string, Loss>{"absolute", "mae"}, {"huber delta 0.75", Huber{.delta = 0.75F}}}) {
    const auto x = kinks.at(key)["x"].get<std::vector<float>>();
    Buffer in(Type{Shape{samples, classes}});
    std::vector<double> expected;
    for (size_t i = 0; i < in.as().size(); ++i) {
      in[i] = x[i % x.size()];
      expected.push_back(kinks[key]["dy"][i % x.size()].get<double>() / classes);
    }
    const Buffer zeros(in.type());
    const Buffer gradient = run_op(*gradient_of(*loss.op(false)), {in, zeros, lane(samples)})[0];
    EXPECT_TRUE(close(gradient, expected, 1e-7)) << key;
    expected[1] += 0.1;
    EXPECT_FALSE(close(gradient, expected, 1e-7)) << key;
  }
}

TEST(Losses, PaddingCountsForNothing) {
  for (const auto& [key, loss, targets] : cases()) {
    SCOPED_TRACE(key);
    for (int64_t valid : {4, 0}) {
      std::vector<Buffer> in{logits(), targets, lane(valid)};
      const auto op = loss.op(false), grad = gradient_of(*op);
      const Buffer value = run_op(*op, in)[0], slope = run_op(*grad, in)[0];
      for (size_t i = static_cast<size_t>(valid * classes); i < in[0].as().size(); ++i) {
        in[0][i] = nan;
        if (in[1].type().dtype == DType::f32) in[1][i] = nan;
      }
      EXPECT_TRUE(same_bits(run_op(*op, in)[0], value));
      EXPECT_TRUE(same_bits(run_op(*grad, in)[0], slope));
      for (size_t i = static_cast<size_t>(valid * classes); i < slope.as().size(); ++i) ASSERT_EQ(slope[i], 0);
      // And what is real does: a NaN there is the loss'.
      in[0][0] = nan;
      EXPECT_EQ(std::isnan(run_op(*op, in)[0][0]), valid > 0);
    }
  }
}

TEST(Losses, TheScaleMultipliesTheGradientAlone) {
  for (const auto& [key, loss, targets] : cases()) {
    SCOPED_TRACE(key);
    const std::vector<Buffer> in{logits(), targets, lane(5)};
    std::vector<Buffer> scaled = in;
    scaled.push_back(filled(loss_scale_type(), std::vector<float>{1024, 0}));
    EXPECT_TRUE(same_bits(run_op(*loss.op(true), scaled)[0], run_op(*loss.op(false), in)[0]));
    Buffer expected = run_op(*gradient_of(*loss.op(false)), in)[0];
    for (float& x : expected.as()) x *= 1024;
    EXPECT_TRUE(same_bits(run_op(*gradient_of(*loss.op(true)), scaled)[0], expected));
  }
}

TEST(Losses, OfPixelsAreTheMeanOfTheirSample) {
  // Six rows as three samples of 1x2 pixels: half the sum, and half the gradient.
  for (const auto& [key, loss, targets] : cases()) {
    SCOPED_TRACE(key);
    std::vector<Buffer> in{logits(), targets, lane(samples)};
    const auto op = loss.op(false), grad = gradient_of(*op);
    const double flat = run_op(*op, in)[0][0];
    const Buffer slope = run_op(*grad, in)[0];
    in[0] = in[0].reshaped(Type{Shape{3, 1, 2, classes}});
    in[1] = in[1].reshaped(in[1].type().dtype == DType::i32 ? Type{Shape{3, 1, 2}, DType::i32} : in[0].type());
    in[2] = lane(3);
    EXPECT_TRUE(close(run_op(*op, in)[0], std::vector<double>{flat / 2}, 0, 1e-6));
    std::vector<double> half;
    for (float x : slope.as()) half.push_back(double{x} / 2);
    EXPECT_TRUE(close(run_op(*grad, in)[0], half, 1e-7, 1e-6));
  }
}

TEST(Losses, LargeNumbersStayFinite) {
  const Buffer x = filled(Type{Shape{1, 4}}, std::vector<float>{1e4F, -1e4F, 60, -60});
  for (const Loss& loss : {Loss(BinaryCrossentropy{}), Loss(BinaryFocalCrossentropy{.gamma = 0.5F}),
                           Loss(CategoricalCrossentropy{}), Loss(CategoricalFocalCrossentropy{.gamma = 0.5F})})
    for (float t : {0.0F, 1.0F, 0.25F}) {
      const std::vector<Buffer> in{x, filled(Type{Shape{1, 4}}, std::vector<float>(4, t)), lane(1)};
      EXPECT_TRUE(std::isfinite(run_op(*loss.op(false), in)[0][0])) << loss.name() << t;
      const Buffer slopes = run_op(*gradient_of(*loss.op(false)), in)[0];
      for (float slope : slopes.as()) EXPECT_TRUE(std::isfinite(slope)) << loss.name() << t;
    }
}

TEST(Losses, SayWhatTheyExpect) {
  const auto refusal = [](const auto& make) { return error_of([&] { static_cast<void>(make()); }); };
  EXPECT_TRUE(says(refusal([] { return Loss("hubber"); }), {"unknown loss 'hubber'", "did you mean 'huber'"}));
  EXPECT_TRUE(says(refusal([] { return Loss(Huber{.delta = 0}); }), {"huber: delta is 0"}));
  EXPECT_TRUE(says(refusal([] { return Loss(BinaryCrossentropy{.label_smoothing = nan}); }),
                   {"binary_crossentropy: label_smoothing is nan"}));
  EXPECT_TRUE(says(refusal([] { return Loss(BinaryFocalCrossentropy{.gamma = -1}); }), {"gamma -1"}));
  const Type x{Shape{8, 10}}, state = lane_state_type(1);
  EXPECT_EQ(refusal([&] {
              return Loss("mse").op(false)->infer(std::vector<Type>{x, {Shape{8}}, state});
            }),
            "the target tensor is f32[8], expected f32[8, 10]");
  EXPECT_TRUE(says(refusal([] {
                     Loss loss("mse");
                     loss.set_label_smoothing(0.1F);
                   }),
                   {"mean_squared_error has no label smoothing"}));
}

/// Each metric from the sums that its tallies make, over two lanes' worth of the samples.
std::map<std::string, std::vector<double>> measured(const Loss& loss, const std::vector<Metric>& metrics,
                                                    const Buffer& targets, int64_t valid = samples) {
  const Measures measures(loss, metrics, {classes});
  std::vector<double> sums;
  for (const Tally& tally : measures.tallies()) {
    const std::vector<Buffer> in{logits(), targets, lane(valid)};
    const Buffer out = tally.op ? run_op(*tally.op, in)[0] : run_op(*loss.op(false), in)[1];
    sums.insert(sums.end(), out.as().begin(), out.as().end());
  }
  EXPECT_EQ(sums.size(), measures.floats());
  std::map<std::string, std::vector<double>> all;
  for (const MetricValue& value : measures.values(sums, valid)) all[value.name] = value.values;
  return all;
}

TEST(Metrics, AgreeWithPyTorch) {
  for (const auto& [name, targets] :
       {std::pair{"sparse_categorical_crossentropy", labels()}, {"binary_crossentropy", bits()}, {"huber", values()}}) {
    const auto expected = golden()["metrics"][name];
    std::vector<Metric> metrics;
    for (const auto& [metric, value] : expected.items()) metrics.emplace_back(metric);
    const auto got = measured(name, metrics, targets);
    ASSERT_EQ(got.size(), expected.size());
    for (const auto& [metric, value] : expected.items()) {
      const auto want = value.is_array() ? value.get<std::vector<double>>() : std::vector<double>{value};
      ASSERT_EQ(got.at(metric).size(), want.size()) << metric;
      for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got.at(metric)[i], want[i], 1e-6) << name << " " << metric;
    }
  }
}

TEST(Metrics, TakeTheLargestWeightAsTheClass) {
  Buffer one_hot(Type{Shape{samples, classes}});
  for (size_t n = 0; n < samples; ++n)
    for (size_t k = 0; k < classes; ++k)
      one_hot[n * classes + k] = static_cast<size_t>(labels().as<int32_t>()[n]) == k ? 0.6F : 0.1F;
  const std::vector<Metric> metrics{"accuracy", "top_k:3", "confusion_matrix"};
  for (int64_t valid : {6, 4})
    EXPECT_EQ(measured("categorical_crossentropy", metrics, one_hot, valid),
              measured("sparse_categorical_crossentropy", metrics, labels(), valid));
}

TEST(Metrics, AmongEqualsTheFirstIsLarger) {
  const Buffer x = filled(Type{Shape{1, 4}}, std::vector<float>{1, 2, 2, 2});
  const auto hits = [&](int32_t label, int64_t k) {
    return run_op(TopKOp(k), {x, filled<int32_t>(Type{Shape{1}, DType::i32}, {label}), lane(1)})[0][0];
  };
  EXPECT_EQ(hits(1, 1), 1);
  EXPECT_EQ(hits(2, 1), 0);
  EXPECT_EQ(hits(2, 2), 1);
  EXPECT_EQ(hits(3, 2), 0);
  EXPECT_EQ(hits(0, 3), 0);
  EXPECT_EQ(hits(0, 4), 1);
}

TEST(Metrics, NanIsNoPrediction) {
  Buffer x = logits();
  x[3] = nan;
  const std::vector<Buffer> in{x, labels(), lane(1)};
  EXPECT_EQ(run_op(TopKOp(classes), in)[0][0], 0);
  const Buffer none = run_op(ConfusionOp(), in)[0], some = run_op(ConfusionOp(true), {x, bits(), lane(1)})[0];
  for (float cell : none.as()) EXPECT_EQ(cell, 0);
  float counted = 0;
  for (float cell : some.as()) counted += cell;
  EXPECT_EQ(counted, classes - 1);
}

TEST(Metrics, WideRowsAreCountedAsNarrowOnes) {
  // More than a block has threads, and not many: on a device each entry of the matrix has a block.
  const int64_t wide = 270, half = wide / 2;
  const Buffer x = uniform({9, wide}, 4, -3, 3);
  std::vector<int32_t> all;
  for (int32_t n = 0; n < 9; ++n) all.push_back(n * 29);
  std::vector<float> expected(static_cast<size_t>(wide * wide));
  float top = 0;
  for (size_t n = 0; n < 9; ++n) {
    const auto row = x.as().subspan(n * wide, wide);
    const auto best = static_cast<size_t>(std::ranges::max_element(row) - row.begin());
    expected[static_cast<size_t>(all[n]) * wide + best] += 1;
    top +=
        std::ranges::count_if(row, [&](float v) { return v > row[static_cast<size_t>(all[n])]; }) < half ? 1.0F : 0.0F;
  }
  const std::vector<Buffer> in{x, filled(Type{Shape{9}, DType::i32}, all), lane(9)};
  EXPECT_TRUE(close(run_op(ConfusionOp(), in)[0], expected, 0));
  EXPECT_EQ(run_op(TopKOp(half), in)[0][0], top);
}

TEST(Metrics, SayWhatTheyExpect) {
  const auto refusal = [](const Loss& loss, const std::vector<Metric>& metrics) {
    return error_of([&] { Measures(loss, metrics, {classes}); });
  };
  EXPECT_EQ(refusal("mse", {"auto", "mae", "mse"}), "");
  EXPECT_TRUE(says(refusal("mse", {"accuracy"}), {"'accuracy'", "mean_squared_error", "expected mse or mae"}));
  EXPECT_TRUE(says(refusal("sparse_categorical_crossentropy", {"mae"}), {"'mae'", "expected metrics of classes"}));
  EXPECT_TRUE(says(refusal("binary_crossentropy", {"top_k"}), {"'top_k'", "binary_crossentropy"}));
  EXPECT_TRUE(says(refusal("categorical_crossentropy", {"top_k:6"}), {"k is 6", "5"}));
  EXPECT_TRUE(says(refusal("categorical_crossentropy", {"f1", "f1"}), {"'f1' was given twice"}));
  EXPECT_TRUE(says(error_of([] { Metric("acuracy"); }), {"unknown metric", "did you mean 'accuracy'"}));
  for (const char* name : {"top_k:0", "top_k:x", "top_k:", "accuracy:2"})
    EXPECT_TRUE(says(error_of([&] { Metric{name}; }), {name, "expected a number from 1"}));
}

}  // namespace
}  // namespace lockstep
