#include "layers/linear/dense.h"

#include "tests/support/op_check.h"

namespace lockstep::test {
namespace {

using Doubles = std::vector<double>;

struct Case {
  int64_t batch = 1, features = 1, units = 1;
  bool bias = true, relu = false;

  DenseOp op() const { return {bias, relu}; }
  Shape output() const { return {batch, units}; }
  std::vector<Type> types() const {
    std::vector<Type> in{{Shape{batch, features}}, {Shape{units, features}}};
    if (bias) in.push_back({Shape{units}});
    return in;
  }
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << fmt::format("[{}, {}] -> {} {}", c.batch, c.features, c.units, c.op().attributes());
}

/// Calls body(index into x, into w, into y) for every product that is summed.
template <class Body>
void each_product(const Case& c, Body body) {
  for (int64_t n = 0; n < c.batch; ++n)
    for (int64_t k = 0; k < c.units; ++k)
      for (int64_t f = 0; f < c.features; ++f)
        body(static_cast<size_t>(n * c.features + f), static_cast<size_t>(k * c.features + f),
             static_cast<size_t>(n * c.units + k));
}

Doubles forward(const Case& c, const std::vector<Buffer>& in) {
  Doubles y(static_cast<size_t>(c.batch * c.units));
  each_product(c, [&](size_t x, size_t w, size_t to) { y[to] += double{in[0][x]} * double{in[1][w]}; });
  for (size_t i = 0; i < y.size(); ++i) {
    if (c.bias) y[i] += in[2][i % static_cast<size_t>(c.units)];
    if (c.relu && y[i] < 0) y[i] = 0;
  }
  return y;
}

Doubles data_grad(const Case& c, const Buffer& weights, const Buffer& dy) {
  Doubles dx(static_cast<size_t>(c.batch * c.features));
  each_product(c, [&](size_t x, size_t w, size_t y) { dx[x] += double{weights[w]} * double{dy[y]}; });
  return dx;
}

Doubles weight_grad(const Case& c, const Buffer& input, const Buffer& dy) {
  Doubles dw(static_cast<size_t>(c.units * c.features));
  each_product(c, [&](size_t x, size_t w, size_t y) { dw[w] += double{input[x]} * double{dy[y]}; });
  return dw;
}

Doubles bias_grad(const Case& c, const Buffer& dy) {
  Doubles db(static_cast<size_t>(c.units));
  for (size_t i = 0; i < dy.as().size(); ++i) db[i % db.size()] += dy[i];
  return db;
}

template <class Make>
std::vector<Buffer> inputs(const Case& c, Make make) {
  std::vector<Buffer> in;
  for (const Type& type : c.types()) in.push_back(make(type.shape, static_cast<unsigned>(in.size() + 1)));
  return in;
}

/// A sum of n products in float errs by at most n * 2^-24 times the sum of their magnitudes; inputs here are below 1.
double tolerance(int64_t products) { return static_cast<double>(products + 1) * 0x1p-23; }

class Dense : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Cases, Dense,
                         testing::Values(Case{8, 400, 120, true, true}, Case{8, 120, 84, true, true}, Case{8, 84, 10},
                                         Case{8, 512, 10}, Case{1, 1, 1}, Case{1, 17, 3, false}, Case{3, 5, 17},
                                         Case{5, 64, 33, false, true}, Case{64, 31, 16, true, true}, Case{16, 3, 100}));

TEST_P(Dense, IsExactOnIntegers) {
  const Case c = GetParam();
  const auto in = inputs(c, [](Shape s, unsigned seed) { return integers(s, seed); });
  const Buffer dy = integers(c.output(), 9);
  EXPECT_TRUE(close(run_op(c.op(), in)[0], forward(c, in), 0));
  EXPECT_TRUE(close(run_op(DenseDataGradOp(), {in[1], dy})[0], data_grad(c, in[1], dy), 0));
  const auto gradients = run_op(DenseWeightGradOp(c.bias), {in[0], dy});
  EXPECT_TRUE(close(gradients[0], weight_grad(c, in[0], dy), 0));
  if (c.bias) {
    EXPECT_TRUE(close(gradients[1], bias_grad(c, dy), 0));
  }
}

TEST_P(Dense, MatchesTheReference) {
  const Case c = GetParam();
  const auto in = inputs(c, [](Shape s, unsigned seed) { return uniform(s, seed); });
  const Buffer dy = uniform(c.output(), 9);
  EXPECT_TRUE(close(run_op(c.op(), in)[0], forward(c, in), tolerance(c.features)));
  EXPECT_TRUE(close(run_op(DenseDataGradOp(), {in[1], dy})[0], data_grad(c, in[1], dy), tolerance(c.units)));
  const auto gradients = run_op(DenseWeightGradOp(c.bias), {in[0], dy});
  EXPECT_TRUE(close(gradients[0], weight_grad(c, in[0], dy), tolerance(c.batch)));
  if (c.bias) {
    EXPECT_TRUE(close(gradients[1], bias_grad(c, dy), tolerance(c.batch)));
  }
}

TEST_P(Dense, GradientsMatchFiniteDifferences) {
  Case c = GetParam();
  c.relu = false;  // has no derivative at its kink; relu's own path is tested below
  const auto in = inputs(c, [](Shape s, unsigned seed) { return uniform(s, seed); });
  // Linear in each input, so that a large step is exact and drowns the rounding of 32 bits.
  EXPECT_TRUE(gradient_matches(std::make_shared<DenseOp>(c.op()), in,
                               c.bias ? std::vector<size_t>{0, 1, 2} : std::vector<size_t>{0, 1},
                               {.step = 0.5, .tolerance = 2e-3, .elements = 12}));
}

TEST_P(Dense, SameBitsWhateverLiesInMemory) {
  const Case c = GetParam();
  const auto in = inputs(c, [](Shape s, unsigned seed) { return uniform(s, seed); });
  const Buffer dy = uniform(c.output(), 9), other = uniform(c.output(), 5);
  const DenseWeightGradOp op(c.bias);
  const Signature signature{{in[0].type(), dy.type()}, op.infer(std::vector<Type>{in[0].type(), dy.type()})};
  const Kernel kernel = make_kernel(test_backend().kernels, op, signature);
  const auto first = run_kernel(kernel, op, signature, {in[0], dy});
  const Buffer y = run_op(c.op(), in)[0], dx = run_op(DenseDataGradOp(), {in[1], dy})[0];
  std::vector<Buffer> occupied;  // moves each run's buffers to other addresses
  for (int i = 0; i < 50; ++i) {
    EXPECT_FALSE(same_bits(run_kernel(kernel, op, signature, {in[0], other})[0], first[0]));
    occupied.emplace_back(Type{Shape{1 + i * 37 % 500}});
    const auto again = run_kernel(kernel, op, signature, {in[0], dy});
    for (size_t k = 0; k < again.size(); ++k) ASSERT_TRUE(same_bits(again[k], first[k])) << "run " << i;
    ASSERT_TRUE(same_bits(run_op(c.op(), in)[0], y));
    ASSERT_TRUE(same_bits(run_op(DenseDataGradOp(), {in[1], dy})[0], dx));
  }
}

TEST(DenseOp, GradientsPassThroughRelu) {
  const Case c{6, 10, 12, true, true};
  const auto in = inputs(c, [](Shape s, unsigned seed) { return uniform(s, seed); });
  EXPECT_TRUE(gradient_matches(std::make_shared<DenseOp>(c.op()), in, {0, 1, 2}, {.step = 1e-3, .tolerance = 2e-2}));
}

TEST(DenseOp, PropagatesNaNThroughRelu) {
  for (const Case& c : {Case{4, 8, 16, true, true}, Case{1, 100, 7, false, true}, Case{16, 400, 120, true, true}}) {
    auto in = std::vector{uniform({c.batch, c.features}, 1), uniform({c.units, c.features}, 2)};
    if (c.bias) in.push_back(uniform({c.units}, 3));
    for (float& weight : in[1].as()) weight = std::nanf("");
    const Buffer out = run_op(c.op(), in)[0];
    for (float y : out.as()) ASSERT_TRUE(std::isnan(y)) << c;
  }
}

TEST(DenseOp, ReferenceNoticesAWrongResult) {
  const Case c{4, 9, 7};
  const auto in = inputs(c, [](Shape s, unsigned seed) { return integers(s, seed); });
  Buffer wrong = run_op(c.op(), in)[0];
  wrong[7] += 1;
  EXPECT_FALSE(close(wrong, forward(c, in), 0.5));
  wrong[7] = std::nanf("");
  EXPECT_FALSE(close(wrong, forward(c, in), 1e30));
}

TEST(DenseOp, EmitsWeightGradientBeforeDataGradient) {
  for (const Role role : {Role::activation, Role::lane_input}) {
    Graph graph;
    std::vector<Value> in{graph.source("x", {Shape{8, 5}}, role), graph.source("w", {Shape{3, 5}}, Role::parameter),
                          graph.source("b", {Shape{3}}, Role::parameter)};
    graph.add("fc", std::make_shared<DenseOp>(true, true), in);
    const Node node = graph.nodes()[0];
    const Value dy = graph.source("dy", {Shape{8, 3}}, Role::activation);
    const auto gradients = node.op->backward(graph, node, std::vector<Value>{dy});
    std::vector<std::string> names;
    for (const Node& n : graph.nodes()) names.push_back(n.name);
    std::vector<std::string> expected{"fc", "fc/relu_grad", "fc/weight_grad"};
    if (role == Role::activation) expected.push_back("fc/data_grad");
    EXPECT_EQ(names, expected);
    EXPECT_EQ(static_cast<bool>(gradients[0]), role == Role::activation);
    EXPECT_EQ(graph.type(gradients[1]).shape, (Shape{3, 5}));
    EXPECT_EQ(graph.type(gradients[2]).shape, (Shape{3}));
  }
}

TEST(DenseOp, ShardsTheBatch) {
  EXPECT_EQ(DenseOp(true, false).rules()[0].in, (std::vector<Placement>{shard(0), replicate, replicate}));
  EXPECT_EQ(DenseOp(true, false).rules()[0].out, std::vector<Placement>{shard(0)});
  EXPECT_EQ(DenseDataGradOp().rules()[0].in, (std::vector<Placement>{replicate, shard(0)}));
  EXPECT_EQ(DenseDataGradOp().rules()[0].out, std::vector<Placement>{shard(0)});
  EXPECT_EQ(DenseWeightGradOp(true).rules()[0].in, (std::vector<Placement>{shard(0), shard(0)}));
  EXPECT_EQ(DenseWeightGradOp(true).rules()[0].out, (std::vector<Placement>{partial, partial}));
}

TEST(DenseOp, SaysWhatIsWrong) {
  const auto infer = [](std::vector<Type> in) {
    return error_of([&] { static_cast<void>(DenseOp(in.size() == 3, false).infer(in)); });
  };
  EXPECT_EQ(infer({{Shape{2, 5}}, {Shape{3, 5}}}), "");
  EXPECT_EQ(infer({{Shape{2, 5, 5, 1}}, {Shape{3, 25}}}),
            "got f32[2, 5, 5, 1], expected f32[N, features]; use Flatten before Dense");
  EXPECT_EQ(infer({{Shape{2, 5}}, {Shape{3, 6}}}), "the kernel is f32[3, 6], expected f32[3, 5]");
  EXPECT_EQ(infer({{Shape{2, 5}}, {Shape{3, 5}}, {Shape{4}}}), "the bias is f32[4], expected f32[3]");
  EXPECT_EQ(infer({{Shape{2, 5}, DType::i32}, {Shape{3, 5}}}),
            "got i32[2, 5], expected f32[N, features]; use Flatten before Dense");
}

TEST(DenseLayer, BuildsItsVariablesAndSaysWhatIsWrong) {
  Graph graph;
  Builder builder(graph, 8, 8, true);
  builder.enter("fc1", 0);
  const Value x = graph.source("x", {Shape{8, 7}}, Role::lane_input);
  const Value image = graph.source("image", {Shape{8, 7, 7, 1}}, Role::lane_input);
  const Value y = lockstep::Dense(4, {.activation = Activation::softmax}).build(builder, std::vector<Value>{x});
  EXPECT_EQ(graph.type(y).shape, (Shape{8, 4}));
  EXPECT_EQ(graph.info(y).name, "fc1/softmax");
  ASSERT_EQ(builder.variables().size(), 2);
  EXPECT_EQ(builder.variables()[0].name, "fc1/kernel");
  EXPECT_EQ(builder.variables()[0].shape, (Shape{4, 7}));
  EXPECT_EQ(builder.variables()[0].initializer.kind, Initializer::Kind::glorot_uniform);
  EXPECT_EQ(builder.variables()[0].initializer.fan_in, 7);
  EXPECT_EQ(builder.variables()[0].initializer.fan_out, 4);
  EXPECT_EQ(builder.variables()[1].shape, (Shape{4}));
  EXPECT_EQ(builder.variables()[1].initializer.kind, Initializer::Kind::constant);
  EXPECT_EQ(builder.variables()[1].initializer.constant, 0);
  const auto build = [&](int64_t units, Value input) {
    return error_of([&] { static_cast<void>(lockstep::Dense(units).build(builder, std::vector<Value>{input})); });
  };
  EXPECT_EQ(build(4, image), "got f32[8, 7, 7, 1], expected f32[N, features]; use Flatten before Dense");
  EXPECT_EQ(build(0, x), "0 units, expected at least 1");
}

}  // namespace
}  // namespace lockstep::test
