// Fused graphs compute what the unfused ones do: the same network, inputs and variables through both, compared in loss,
// statistics and every gradient, and in inference. And a wrong residual would be seen.
#include "layers/passes/fuse.h"

#include <functional>
#include <map>

#include "core/plan/autodiff.h"
#include "core/plan/executor.h"
#include "core/step_state.h"
#include "layers/cpu/kernels.h"
#include "layers/ops.h"
#include "layers/zoo/zoo.h"
#include "tests/support/op_check.h"

namespace lockstep::test {
namespace {

constexpr int64_t batch = 4, classes = 10;

/// Of |difference| / (largest magnitude of the tensor). Fused and unfused may round differently (a residual added
/// inside a norm), by some 1e-7 each; batch norm over the few pixels here enlarges that on its way back. The controls
/// show that 1 % in any one parameter is more than this.
constexpr double tolerance = 1e-5;

/// Each pattern of `fuse`; both orders of an Add: its norm first, its residual first, and a projection, which comes
/// after the norm it is added to; and values that a relu could join, were they not read by others as well.
Network mixed_network() {
  const Symbol image = Input({8, 8, 3});
  const auto conv = [](int64_t filters, Size2 kernel, Size2 strides, const Symbol& x) {
    return Conv2D(filters, kernel, {.strides = strides, .padding = Padding::same, .use_bias = false})(x);
  };
  const auto norm = [](const Symbol& x) { return BatchNormalization()(x); };
  Symbol x = ReLU()(norm(conv(8, {3, 3}, {1, 1}, image)));
  x = ReLU()(Add()({norm(conv(8, {3, 3}, {1, 1}, x)), x}));
  x = ReLU()(Add()({x, norm(conv(8, {3, 3}, {1, 1}, x))}));
  const Symbol main = norm(conv(12, {3, 3}, {2, 2}, x));
  x = ReLU()(Add()({main, norm(conv(12, {1, 1}, {2, 2}, x))}));
  const Symbol normed = norm(conv(12, {3, 3}, {1, 1}, x));
  x = Add()({ReLU()(normed), normed});
  const Symbol sum = Add()({norm(conv(12, {3, 3}, {1, 1}, x)), x});
  x = Add()({ReLU()(sum), sum});
  const Symbol narrow = Conv2D(6, {3, 3}, {.activation = Activation::relu})(x);
  const Symbol wide = Conv2D(6, {3, 3}, {.padding = Padding::same})(x);
  x = Flatten()(Concatenate()({MaxPooling2D({2, 2})(ReLU()(wide)), AveragePooling2D({2, 2})(wide), narrow}));
  x = Dropout(0.3F)(Dense(24, {.activation = Activation::relu})(x));
  return Network("mixed", Dense(classes, {.activation = Activation::softmax})(x));
}

/// Norms that end in a relu with a top, one of them after a residual.
Network bounded_network(float top) {
  const ReLU relu({.max_value = top});
  const auto stage = [](const Symbol& x) {
    return BatchNormalization()(Conv2D(8, {3, 3}, {.padding = Padding::same, .use_bias = false})(x));
  };
  Symbol x = relu(stage(Input({8, 8, 3})));
  x = relu(Add()({stage(x), x}));
  return Network("bounded", Dense(classes, {.activation = Activation::softmax})(Flatten()(x)));
}

/// Values by name: "loss", "output", a parameter's name for its gradient, "<state>/sum" for a statistic.
using Results = std::map<std::string, Buffer>;

/// A graph to run, and what of it is compared.
struct Program {
  Graph graph;
  std::map<std::string, Value> results;
};

enum class Mode { training, evaluation, prediction };

/// As launch/plan/step.cpp plans the three kinds of steps, on one lane; with or without `fuse`. `damage` may then alter
/// the forward graph.
Program program(const Network& network, Mode mode, bool fused, const std::function<void(Graph&)>& damage = {}) {
  Built built = network.build(batch, 1, mode == Mode::training);
  Program made{std::move(built.graph), {}};
  Graph& graph = made.graph;
  std::vector<Value> kept;
  const auto keep = [&](const std::string& name, Value value) {
    made.results[name] = value;
    kept.push_back(value);
  };
  if (mode == Mode::prediction) {
    keep("output", built.output);
  } else {
    const Value labels = graph.source("labels", {Shape{batch}, DType::i32}, Role::lane_input);
    const Value lane = Builder(graph, batch, 1, false).lane_state();
    const Value logits = graph.node(graph.info(built.output).producer).in[0];
    const auto loss = graph.add("loss", std::make_shared<CrossEntropyOp>(), {logits, labels, lane});
    keep("loss", loss[0]);
    keep("correct", loss[1]);
    for (const auto& tracked : built.tracked) keep(graph.info(tracked.mean).name + "/moments", tracked.moments);
  }
  if (fused) fuse(graph, kept);
  if (damage) damage(graph);
  const AddNode add = [](Graph& to, std::string name, Value a, Value b) {
    return to.add1(std::move(name), std::make_shared<AddOp>(), {a, b});
  };
  if (mode == Mode::training)
    for (const Gradient& g : autodiff(graph, made.results.at("loss"), add))
      keep(graph.info(g.parameter).name, g.gradient);
  graph.prune(kept);
  return made;
}

/// What a source holds: by its name and role alone, so that both graphs get the same. No variable is left at a value
/// (0, 1) that would hide a missing factor or term.
Buffer source(const std::string& name, const ValueInfo& info) {
  unsigned seed = 0;
  for (char c : name) seed = seed * 31 + static_cast<unsigned char>(c);
  if (name == "labels") return filled<int32_t>(info.type, {3, 0, 7, 9});
  if (name == "lane_state") return state_buffer(LaneState{.first = 0, .valid = batch - 1});  // one sample of padding
  if (name == "step_state") return state_buffer(StepState{.seed = 7, .step = 5, .samples = batch - 1});
  if (info.role == Role::lane_input) return uniform(info.type.shape, seed);
  if (name.ends_with("gamma") || name.ends_with("variance")) return uniform(info.type.shape, seed, 0.5F, 1.5F);
  if (info.type.shape.rank() == 1) return uniform(info.type.shape, seed, -0.5F, 0.5F);
  // Uniform with deviation 1 / sqrt(fan_in): activations stay near 1, and no probability falls below 1e-7, where the
  // loss clips it and the loss from logits does not.
  const float limit = std::sqrt(3 / static_cast<float>(info.type.shape.elements() / info.type.shape[0]));
  return uniform(info.type.shape, seed, -limit, limit);
}

std::map<int, Buffer> sources(const Graph& graph) {
  std::map<int, Buffer> values;
  for (size_t v = 0; v < graph.values().size(); ++v)
    if (const ValueInfo& info = graph.values()[v]; info.producer < 0)
      values[static_cast<int>(v)] = source(info.name, info);
  return values;
}

/// Each value in memory of its own. `change` may alter the sources.
Results run(const Program& program, const std::function<void(const Graph&, std::map<int, Buffer>&)>& change = {}) {
  auto values = sources(program.graph);
  if (change) change(program.graph, values);
  run_graph(program.graph, values);
  Results results;
  for (const auto& [name, value] : program.results) results[name] = values.at(value.id);
  return results;
}

/// The same through a plan: values share memory and operators work in place.
Results run_planned(const Program& program, Backend& backend) {
  StepPlan plan;
  plan.graph = program.graph;
  for (const auto& [name, value] : program.results) plan.graph.set_role(value, Role::output);
  VariableMemory variables;
  FixedLocations fixed;
  size_t bytes = 0;
  for (Value v{0}; plan.graph.has(v); ++v.id) {
    const ValueInfo& info = plan.graph.info(v);
    plan.local.push_back(info.type);
    if (info.role != Role::parameter && info.role != Role::state) continue;
    fixed[v] = {Region::parameter, bytes};
    bytes += aligned(info.type.bytes());
  }
  variables.parameters = Arena(backend, bytes);
  finish_plan(plan, cpu_kernels(), fixed);
  Executor executor(std::move(plan), backend, variables);
  for (const auto& [id, buffer] : sources(program.graph))
    if (!program.graph.readers({id}).empty())
      std::memcpy(executor.tensor({id}).data, buffer.tensor().data, buffer.type().bytes());
  executor.run();
  Results results;
  for (const auto& [name, value] : program.results) {
    Buffer& result = results[name] = Buffer(executor.tensor(value).type);
    std::memcpy(result.tensor().data, executor.tensor(value).data, result.type().bytes());
  }
  return results;
}

double largest(const Buffer& buffer) {
  double most = 0;
  for (float x : buffer.as()) most = std::max(most, std::abs(double{x}));
  return most;
}

/// All of `expected` is in `got`, to the tolerance.
testing::AssertionResult agree(const Results& got, const Results& expected) {
  if (got.size() != expected.size())
    return testing::AssertionFailure() << got.size() << " results, expected " << expected.size();
  for (const auto& [name, want] : expected) {
    if (!got.contains(name)) return testing::AssertionFailure() << "no " << name;
    if (const auto near = close(got.at(name), want, tolerance * largest(want)); !near)
      return testing::AssertionFailure() << name << ": " << near.message() << "; the largest is " << largest(want);
  }
  return testing::AssertionSuccess();
}

std::string name_of(const testing::TestParamInfo<Mode>& mode) {
  return std::array{"Training", "Evaluation", "Prediction"}[static_cast<size_t>(mode.param)];
}

class Fused : public testing::TestWithParam<Mode> {
 protected:
  void expect_unfused(const Network& network) {
    const Program plain = program(network, GetParam(), false), fused = program(network, GetParam(), true);
    ASSERT_LT(fused.graph.nodes().size(), plain.graph.nodes().size());
    const Results expected = run(plain), got = run(fused), planned = run_planned(fused, *backend_);
    EXPECT_TRUE(agree(got, expected));
    for (const auto& [name, result] : got) EXPECT_TRUE(same_bits(planned.at(name), result)) << name;
  }

 private:
  // Before anything runs: a rank's number of threads and floating-point environment, for every kernel.
  const std::unique_ptr<Backend> backend_ = make_cpu_backend(1);
};
INSTANTIATE_TEST_SUITE_P(Modes, Fused, testing::Values(Mode::training, Mode::evaluation, Mode::prediction), name_of);

TEST_P(Fused, TheMixedNetworkIsTheUnfused) { expect_unfused(mixed_network()); }
TEST_P(Fused, Resnet18IsTheUnfused) { expect_unfused(resnet18({8, 8, 3}, classes)); }

TEST_P(Fused, TheBoundedNetworkIsTheUnfusedAndItsTopCounts) {
  expect_unfused(bounded_network(0.75F));
  const Results expected = run(program(bounded_network(0.75F), GetParam(), true));
  EXPECT_FALSE(agree(run(program(bounded_network(0.8F), GetParam(), true)), expected));
  const Program fused = program(bounded_network(6), GetParam(), true);
  for (const Node& node : fused.graph.nodes()) {
    EXPECT_NE(node.op->name(), "activation");
    if (node.op->name().starts_with("batch_norm") && !node.name.ends_with("grad")) {
      EXPECT_TRUE(node.op->attributes().find("+relu6") != std::string::npos) << node.op->attributes();
    }
  }
}

/// Operators with their fused parts, counted.
std::map<std::string, int> kinds(const Graph& graph) {
  std::map<std::string, int> found;
  for (const Node& node : graph.nodes()) {
    std::string kind(node.op->name());
    for (const std::string part : {"+relu", "+add", "from logits"})
      if (node.op->attributes().find(part) != std::string::npos) kind += " " + part;
    ++found[kind];
  }
  return found;
}

TEST_P(Fused, TheMixedNetworkHasEveryPattern) {
  const auto found = kinds(program(mixed_network(), GetParam(), true).graph);
  const std::string norm = GetParam() == Mode::training ? "batch_norm" : "batch_norm_inference";
  for (const auto& [kind, count] : std::map<std::string, int>{{"conv2d +relu", 1},
                                                              {"dense +relu", 1},
                                                              {"max_pool +relu", 1},
                                                              {norm + " +relu", 1},
                                                              {norm + " +relu +add", 3},
                                                              {norm, 3},
                                                              {"relu", 2},
                                                              {"softmax", GetParam() == Mode::prediction}})
    EXPECT_EQ(found.contains(kind) ? found.at(kind) : 0, count) << kind;
}

/// The nodes that add a residual.
std::vector<int> residuals(const Graph& graph) {
  std::vector<int> found;
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Op* op = graph.nodes()[i].op.get();
    const auto* norm = dynamic_cast<const BatchNormOp*>(op);
    const auto* inference = dynamic_cast<const BatchNormInferenceOp*>(op);
    if ((norm && norm->add) || (inference && inference->add)) found.push_back(static_cast<int>(i));
  }
  return found;
}

/// Each fused norm in turn adds its own input instead of the residual.
void expect_wrong_residuals_seen(const Network& network, Mode mode) {
  const Results expected = run(program(network, mode, false));
  const auto nodes = residuals(program(network, mode, true).graph);
  ASSERT_FALSE(nodes.empty());
  for (int node : nodes) {
    const Program wrong = program(network, mode, true, [&](Graph& graph) {
      const Node norm = graph.node(node);
      std::vector<Value> in = norm.in;
      in.back() = in.front();
      graph.replace(node, norm.op, in);
    });
    EXPECT_FALSE(agree(run(wrong), expected)) << "node " << node;
  }
}

TEST_P(Fused, NegativeControlAWrongResidualIsSeen) {
  expect_wrong_residuals_seen(mixed_network(), GetParam());
  if (GetParam() != Mode::training) expect_wrong_residuals_seen(resnet18({8, 8, 3}, classes), GetParam());
}

TEST_P(Fused, NegativeControlEachParameterCounts) {
  const Network network = mixed_network();
  const Program fused = program(network, GetParam(), true);
  const Results expected = run(fused);
  for (const Variable& variable : network.variables()) {
    if (GetParam() == Mode::training && !variable.trainable) continue;  // written, not read
    const Results changed = run(fused, [&](const Graph& graph, std::map<int, Buffer>& values) {
      for (float& x : values.at(graph.find(variable.name).id).as()) x *= 1.01F;
    });
    EXPECT_FALSE(agree(changed, expected)) << variable.name;
  }
}

}  // namespace
}  // namespace lockstep::test
