// Networks in 16 bits: the types of every operator, where a network's graph converts, that nothing is computed for the
// images' gradient, and that the CPU refuses what it cannot compute.
#include "layers/passes/precision.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "core/step_state.h"
#include "launch/plan/step.h"
#include "layers/cpu/kernels.h"
#include "layers/ops.h"
#include "layers/zoo/zoo.h"
#include "parallel/comm/local.h"
#include "tests/support/errors.h"

namespace lockstep {
namespace {

using test::error_of;
using Types = std::vector<Type>;

TEST(Precision, HasNames) {
  for (const char* name : {"fp32", "tf32", "bf16", "fp16"}) EXPECT_EQ(name_of(precision_from_name(name)), name);
  EXPECT_EQ(compute_type(Precision::fp32), DType::f32);
  EXPECT_EQ(compute_type(Precision::tf32), DType::f32);
  EXPECT_EQ(compute_type(Precision::bf16), DType::bf16);
  EXPECT_EQ(compute_type(Precision::fp16), DType::f16);
  EXPECT_EQ(error_of([] { precision_from_name("fp161"); }),
            "unknown precision 'fp161', expected one of fp32, tf32, bf16, fp16; did you mean 'fp16'?");
}

/// Operators' types with activations of one type.
class OperatorTypes : public testing::TestWithParam<DType> {
 protected:
  static Type with(Shape shape) { return {shape, GetParam()}; }
  static Type f32(Shape shape) { return {shape, DType::f32}; }
  static Type u8(Shape shape) { return {shape, DType::u8}; }
};
INSTANTIATE_TEST_SUITE_P(Activations, OperatorTypes, testing::Values(DType::f32, DType::f16, DType::bf16),
                         [](const auto& dtype) { return std::string(name_of(dtype.param)); });

TEST_P(OperatorTypes, FollowTheActivationsAndWeightsStayF32) {
  const Shape image{4, 8, 8, 6}, pooled{4, 4, 4, 6}, filtered{4, 8, 8, 5}, kernel{5, 1, 1, 6};
  const Window window{{2, 2}, {2, 2}};
  const Type x = with(image), lane = lane_state_type(2), per_lane = f32({2, 6}), channels = f32({6});
  EXPECT_EQ(Conv2dOp({}, true, true).infer(Types{x, f32(kernel), f32({5})}), Types{with(filtered)});
  EXPECT_EQ(Conv2dDataGradOp({}, image).infer(Types{f32(kernel), with(filtered)}), Types{x});
  EXPECT_EQ(Conv2dWeightGradOp({}, true).infer(Types{x, with(filtered)}), (Types{f32(kernel), f32({5})}));
  EXPECT_EQ(DenseOp(true, true).infer(Types{with({4, 9}), f32({3, 9}), f32({3})}), Types{with({4, 3})});
  EXPECT_EQ(DenseDataGradOp().infer(Types{f32({3, 9}), with({4, 3})}), Types{with({4, 9})});
  EXPECT_EQ(DenseWeightGradOp(true).infer(Types{with({4, 9}), with({4, 3})}), (Types{f32({3, 9}), f32({3})}));
  const Type of_lane = f32({6, 4});  // moments, for the moving ones
  EXPECT_EQ(BatchNormOp(1e-3F, true, true).infer(Types{x, channels, channels, lane, x}),
            (Types{x, per_lane, per_lane, of_lane}));
  EXPECT_EQ(BatchNormGradOp(true, true).infer(Types{x, x, x, channels, per_lane, per_lane, lane}),
            (Types{x, channels, channels, x}));
  const Type moments = f32({4, 2, 1, 6}), sums = f32({4, 1, 1, 6});
  EXPECT_EQ(BatchNormMomentsOp({2, 1}).infer(Types{x, lane}), Types{moments});
  EXPECT_EQ(BatchNormApplyOp(1e-3F, true, true, 8, 8).infer(Types{x, channels, channels, lane, moments, x}),
            (Types{x, per_lane, per_lane, of_lane}));
  EXPECT_EQ(BatchNormGradSumsOp(true).infer(Types{x, x, x, per_lane, lane}), Types{sums});
  EXPECT_EQ(BatchNormGradApplyOp(true, true, 64).infer(Types{x, x, x, channels, per_lane, per_lane, lane, sums}),
            (Types{x, channels, channels, x}));
  EXPECT_EQ(BatchNormInferenceOp(1e-3F, true, true).infer(Types{x, channels, channels, channels, channels, x}),
            Types{x});
  EXPECT_EQ(DropoutOp(0.5F, 1, image).infer(Types{x, step_state_type(), lane}), Types{x});
  EXPECT_EQ(MaxPoolOp(window).infer(Types{x}), (Types{with(pooled), u8(pooled)}));
  EXPECT_EQ(MaxPoolGradOp(window, true, image).infer(Types{u8(pooled), with(pooled), with(pooled)}), Types{x});
  EXPECT_EQ(AvgPoolOp(window).infer(Types{x}), Types{with(pooled)});
  EXPECT_EQ(AvgPoolGradOp(window, image).infer(Types{with(pooled)}), Types{x});
  EXPECT_EQ(GlobalAvgPoolOp(1).infer(Types{x}), Types{with({4, 6})});
  EXPECT_EQ(GlobalAvgPoolGradOp(1, image).infer(Types{with({4, 6})}), Types{x});
  EXPECT_EQ(GlobalMaxPoolOp().infer(Types{x}), (Types{with({4, 6}), {Shape{4, 6}, DType::i32}}));
  EXPECT_EQ(GlobalMaxPoolGradOp(image).infer(Types{{Shape{4, 6}, DType::i32}, with({4, 6})}), Types{x});
  EXPECT_EQ(BiasOp().infer(Types{x, channels}), Types{x});
  EXPECT_EQ(BiasGradOp().infer(Types{x}), Types{channels});
  EXPECT_EQ(PadOp({1, 0}, {0, 1}).infer(Types{x}), Types{with({4, 9, 9, 6})});
  const Enlargement twice{2, 8, {0, 8}, {0, 16}};
  EXPECT_EQ(UpSampleOp({twice, twice}, Interpolation::bilinear).infer(Types{x}), Types{with({4, 16, 16, 6})});
  EXPECT_EQ(UpSampleGradOp({twice, twice}, Interpolation::bilinear).infer(Types{with({4, 16, 16, 6})}), Types{x});
  EXPECT_EQ(ReluOp().infer(Types{x}), Types{x});
  EXPECT_EQ(ReluGradOp().infer(Types{x, x}), Types{x});
  EXPECT_EQ(AddOp().infer(Types{x, x}), Types{x});
  EXPECT_EQ(ConcatOp(2).infer(Types{x, x}), Types{with({4, 8, 8, 12})});
  EXPECT_EQ(SliceOp(1, 3).infer(Types{x}), Types{with({4, 8, 8, 2})});
  EXPECT_EQ(FlattenOp(image).infer(Types{x}), Types{with({4, 384})});
  EXPECT_EQ(UnflattenOp(image).infer(Types{with({4, 384})}), Types{x});
}

TEST(MixedTypes, AreRefused) {
  const Type wide{Shape{4, 9}}, half{Shape{4, 9}, DType::f16}, brain{Shape{4, 9}, DType::bf16};
  const auto refusal = [](const Op& op, const Types& in) { return error_of([&] { static_cast<void>(op.infer(in)); }); };
  EXPECT_EQ(refusal(AddOp(), {half, brain}), "the second input is bf16[4, 9], expected f16[4, 9]");
  EXPECT_EQ(refusal(ReluGradOp(), {half, wide}), "dy is f32[4, 9], expected f16[4, 9]");
  EXPECT_EQ(refusal(DenseOp(false, false), {half, {Shape{3, 9}, DType::f16}}),
            "the kernel is f16[3, 9], expected f32[3, 9]");
  EXPECT_EQ(refusal(DenseDataGradOp(), {{Shape{3, 9}, DType::f16}, {Shape{4, 3}, DType::f16}}),
            "got f16[3, 9], expected elements of type f32");
  EXPECT_EQ(refusal(DenseWeightGradOp(false), {half, {Shape{4, 3}}}), "dy is f32[4, 3], expected f16[4, 3]");
  EXPECT_EQ(refusal(Conv2dOp({}, false, false), {{Shape{4, 8, 8, 6}, DType::f16}, {Shape{5, 1, 1, 6}, DType::f16}}),
            "the kernel is f16[5, 1, 1, 6], expected f32[5, 1, 1, 6]");
  EXPECT_EQ(refusal(BatchNormOp(1, false, false), {half, {Shape{9}, DType::f16}, {Shape{9}}, lane_state_type(1)}),
            "gamma is f16[9], expected f32[9]");
  const std::string f32_only = "got f16[4, 9], expected elements of type f32";
  EXPECT_EQ(refusal(SoftmaxOp(), {half}), f32_only);
  EXPECT_EQ(refusal(SoftmaxGradOp(), {half, half}), f32_only);
  EXPECT_EQ(refusal(CrossEntropyOp(), {half, {Shape{4}, DType::i32}, lane_state_type(1)}), f32_only);
  EXPECT_EQ(refusal(UpdateOp(SGD{}), {half, half, step_state_type()}), f32_only);
  EXPECT_EQ(
      refusal(UpdateOp(Adam{.beta_1 = 0, .beta_2 = 0, .epsilon = 1}), {half, half, step_state_type(), half, half}),
      f32_only);
  EXPECT_EQ(refusal(MovingAverageOp(0), {half, half, step_state_type()}), f32_only);
}

/// The training step of `network`, pass by pass; kernels that do nothing, so that it needs no device.
struct Planned {
  explicit Planned(const Network& network, const StepOptions& options, const Optimizer& optimizer = Adam{}) {
    const auto backend = make_cpu_backend(1);
    const auto comms = make_local(1);
    const Mesh mesh({}, *comms[0]);
    const VariableLayout layout(network);
    KernelTable kernels;
    const auto nothing = [](const Op&, const Signature&) { return Kernel{}; };
#define LOCKSTEP_OP(Class) kernels.add<Class>(nothing);
#include "layers/list.inc"
    const auto keep = [this](std::string_view pass, const Graph& graph) { passes[std::string(pass)] = graph; };
    const StepTarget target{layout, kernels, *backend, mesh, keep};
    training = plan_training(network, optimizer, options, target).plan;
    prediction = plan_prediction(network, options, target);
    plan_evaluation(network, options, target);
  }
  std::map<std::string, Graph> passes;
  StepPlan training;
  Step prediction;
};

Network mixed_network() {
  const Symbol image = Input({8, 8, 3});
  Symbol x = ReLU()(BatchNormalization()(Conv2D(8, {3, 3}, {.padding = Padding::same, .use_bias = false})(image)));
  x = ReLU()(Add()({BatchNormalization()(Conv2D(8, {3, 3}, {.padding = Padding::same})(x)), x}));
  x = Concatenate()({MaxPooling2D()(x), AveragePooling2D()(x)});
  x = Dropout(0.3F)(Dense(24, {.activation = Activation::relu})(Flatten()(x)));
  return Network("mixed", Dense(10, {.activation = Activation::softmax})(x));
}

std::vector<std::string> casts(const Graph& graph) {
  std::vector<std::string> found;
  for (const Node& node : graph.nodes())
    if (node.op->name() == "cast")
      found.push_back(
          fmt::format("{}: {} {}", node.name, name_of(graph.type(node.in[0]).dtype), node.op->attributes()));
  return found;
}

TEST(NetworkPrecision, ConvertsBehindTheImagesAndBeforeTheSoftmax) {
  for (const auto& [precision, name] : {std::pair{Precision::bf16, "bf16"}, {Precision::fp16, "f16"}}) {
    const Planned planned(mixed_network(), {.batch = 16, .precision = precision});
    const std::vector<std::string> forward{fmt::format("input/cast: f32 to {}", name),
                                           fmt::format("dense_1/cast: {} to f32", name)};
    EXPECT_EQ(casts(planned.passes.at("network")), forward);
    EXPECT_EQ(casts(planned.passes.at("fuse")), forward);
    // Of the backward conversions the logits' is left; that of the images' gradient is for nobody.
    auto all = forward;
    all.push_back(fmt::format("dense_1/cast/grad: f32 to {}", name));
    EXPECT_EQ(casts(planned.passes.at("autodiff")), all);
    EXPECT_EQ(planned.training.graph.type(planned.training.graph.find("input")).dtype, DType::f32);
    EXPECT_EQ(planned.prediction.plan.graph.type(planned.prediction.predictions).dtype, DType::f32);
  }
  for (Precision precision : {Precision::fp32, Precision::tf32})
    EXPECT_TRUE(casts(Planned(mixed_network(), {.batch = 16, .precision = precision}).training.graph).empty());
}

/// "name: operator" of every node.
std::vector<std::string> node_list(const Graph& graph) {
  std::vector<std::string> found;
  for (const Node& node : graph.nodes())
    if (node.op->name() != "cast")
      found.push_back(fmt::format("{}: {} {}", node.name, node.op->name(), node.op->attributes()));
  return found;
}

TEST(NetworkPrecision, ComputesTheSameNodesAsInF32) {
  // So no gradient by the images either, which f32 does not compute.
  for (const Network& network : {mixed_network(), resnet18({32, 32, 3}, 10), lenet5({28, 28, 1}, 10)}) {
    const Planned wide(network, {.batch = 32}), half(network, {.batch = 32, .precision = Precision::bf16});
    EXPECT_EQ(node_list(half.training.graph), node_list(wide.training.graph)) << network.name();
    for (const Node& node : half.training.graph.nodes())
      EXPECT_FALSE(node.op->name() == "conv2d_data_grad" && half.training.graph.type(node.out[0]).shape[3] <= 3)
          << node.name;
  }
}

TEST(NetworkPrecision, ActivationsAreIn16BitsAndVariablesInF32) {
  const Planned planned(mixed_network(), {.batch = 16, .precision = Precision::fp16});
  const Graph& graph = planned.training.graph;
  const std::vector<std::string> with_16_bits{"conv2d",        "conv2d_data_grad", "dense",           "dense_data_grad",
                                              "dropout",       "batch_norm",       "batch_norm_grad", "max_pool",
                                              "max_pool_grad", "avg_pool",         "avg_pool_grad",   "add",
                                              "relu_grad",     "concat",           "slice",           "flatten"};
  std::set<std::string> seen;
  for (const Node& node : graph.nodes()) {
    const std::string name(node.op->name());
    if (std::ranges::find(with_16_bits, name) == with_16_bits.end()) continue;
    EXPECT_EQ(graph.type(node.out[0]).dtype, DType::f16) << node.name;
    seen.insert(name);
  }
  EXPECT_GT(seen.size(), 12U);
  for (const ValueInfo& info : graph.values()) {
    if (info.role == Role::activation || info.role == Role::lane_input || info.role == Role::step_input) continue;
    EXPECT_EQ(info.type.dtype, DType::f32) << info.name;
  }
}

TEST(NetworkPrecision, ASoftmaxLayerIsComputedInF32AndPredictionsAreF32) {
  const Symbol x = Flatten()(Input({2, 2, 1}));
  const Built built = Network("n", Softmax()(Dense(3)(x))).build(4, 1, false, DType::bf16);
  EXPECT_EQ(casts(built.graph), (std::vector<std::string>{"input/cast: f32 to bf16", "softmax/cast: bf16 to f32"}));
  // Without a softmax there is nothing to train here, but predictions.
  const auto backend = make_cpu_backend(1);
  const auto comms = make_local(1);
  const Network linear("linear", Flatten()(ReLU()(Input({2, 2, 1}))));
  const Mesh mesh({}, *comms[0]);
  const VariableLayout layout(linear);
  KernelTable kernels = cpu_kernels();
  kernels.add<ReluOp>([](const Op&, const Signature&) { return Kernel{}; });
  const Step step =
      plan_prediction(linear, {.batch = 8, .precision = Precision::bf16}, {layout, kernels, *backend, mesh, {}});
  EXPECT_EQ(step.plan.graph.type(step.predictions), (Type{Shape{8, 4}, DType::f32}));
}

TEST(NetworkPrecision, TheLossIsScaledInFp16) {
  const Network network = lenet5({28, 28, 1}, 10);
  const auto nodes = [&](const StepOptions& options, const Optimizer& optimizer = Adam{}) {
    std::vector<std::string> found;
    const Planned planned(network, options, optimizer);
    for (const Entry& entry : planned.training.order) {
      const Node& node = planned.training.graph.node(entry.node);
      if (entry.when == When::after_lanes) found.push_back(std::string(node.op->name()));
    }
    return found;
  };
  EXPECT_EQ(nodes({.batch = 32, .precision = Precision::fp16}),
            (std::vector<std::string>{"finite", "adam", "loss_scale"}));
  EXPECT_EQ(nodes({.batch = 32, .precision = Precision::fp16}, SGD{}),
            (std::vector<std::string>{"finite", "sgd", "loss_scale"}));
  for (const StepOptions& options : {StepOptions{.batch = 32},
                                     {.batch = 32, .precision = Precision::bf16},
                                     {.batch = 32, .precision = Precision::fp16, .loss_scaling = false}})
    EXPECT_EQ(nodes(options), std::vector<std::string>{"adam"});
}

TEST(NetworkPrecision, TheCpuRefuses16Bits) {
  const auto backend = make_cpu_backend(1);
  const auto comms = make_local(1);
  const Network network = lenet5({28, 28, 1}, 10);
  const Mesh mesh({}, *comms[0]);
  const VariableLayout layout(network);
  const StepTarget target{layout, cpu_kernels(), *backend, mesh, {}};
  for (Precision precision : {Precision::bf16, Precision::fp16})
    EXPECT_EQ(error_of([&] { plan_training(network, Adam{}, {.batch = 32, .precision = precision}, target); }),
              "layer 'conv2d': the CPU computes in f32; f16 and bf16 need a GPU");
}

TEST(NetworkPrecision, AnInputIsNotNamedAsTheStepsOwnValues) {
  EXPECT_NE(error_of([] { Network("n", Flatten()(Input({2, 2, 1}).named("loss_scale"))); }), "");
}

}  // namespace
}  // namespace lockstep
