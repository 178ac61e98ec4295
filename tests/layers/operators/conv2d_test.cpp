#include "layers/linear/conv2d.h"

#include <numeric>

#include "layers/activations/relu.h"
#include "layers/base/window.h"
#include "tests/support/op_check.h"

namespace lockstep::test {
namespace {

using Doubles = std::vector<double>;

struct Case {
  Shape x;  // [N, H, W, C]
  int64_t filters = 1;
  Size2 kernel{1, 1}, stride{1, 1};
  Padding padding = Padding::same;
  int64_t groups = 1;
  bool bias = true, relu = false;
  Size2 dilation{1, 1};

  Conv2dAttributes attributes() const {
    const Window w = make_window(kernel, stride, padding, x, dilation);
    return {w.size, w.stride, w.pad_before, w.pad_after, groups, dilation};
  }
  Conv2dOp op() const { return {attributes(), bias, relu}; }
  Shape weights() const { return {filters, kernel[0], kernel[1], x[3] / groups}; }
  Shape output() const { return op().infer(types())[0].shape; }
  std::vector<Type> types() const {
    std::vector<Type> in{{x}, {weights()}};
    if (bias) in.push_back({Shape{filters}});
    return in;
  }
  std::string str() const { return fmt::format("{} -> {} filters, {}", x.str(), filters, op().attributes()); }
};

std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.str(); }

/// Calls body(index into x, into w, into y) for every product that a convolution sums.
template <class Body>
void each_product(const Case& c, Body body) {
  const Conv2dAttributes a = c.attributes();
  const Shape x = c.x, w = c.weights(), y = c.output();
  const int64_t filters = y[3] / c.groups;
  for (int64_t n = 0; n < y[0]; ++n)
    for (int64_t p = 0; p < y[1]; ++p)
      for (int64_t q = 0; q < y[2]; ++q)
        for (int64_t k = 0; k < y[3]; ++k)
          for (int64_t r = 0; r < w[1]; ++r)
            for (int64_t s = 0; s < w[2]; ++s) {
              const int64_t h = p * a.stride[0] + r * a.dilation[0] - a.pad_before[0],
                            v = q * a.stride[1] + s * a.dilation[1] - a.pad_before[1];
              if (h < 0 || h >= x[1] || v < 0 || v >= x[2]) continue;
              for (int64_t i = 0; i < w[3]; ++i)
                body(static_cast<size_t>(((n * x[1] + h) * x[2] + v) * x[3] + k / filters * w[3] + i),
                     static_cast<size_t>(((k * w[1] + r) * w[2] + s) * w[3] + i),
                     static_cast<size_t>(((n * y[1] + p) * y[2] + q) * y[3] + k));
            }
}

Doubles forward(const Case& c, const std::vector<Buffer>& in) {
  const size_t filters = static_cast<size_t>(c.filters);
  Doubles y(static_cast<size_t>(c.output().elements()));
  each_product(c, [&](size_t x, size_t w, size_t to) { y[to] += double{in[0][x]} * double{in[1][w]}; });
  for (size_t i = 0; i < y.size(); ++i) {
    if (c.bias) y[i] += in[2][i % filters];
    if (c.relu && y[i] < 0) y[i] = 0;
  }
  return y;
}

Doubles data_grad(const Case& c, const Buffer& weights, const Buffer& dy) {
  Doubles dx(static_cast<size_t>(c.x.elements()));
  each_product(c, [&](size_t x, size_t w, size_t y) { dx[x] += double{weights[w]} * double{dy[y]}; });
  return dx;
}

Doubles weight_grad(const Case& c, const Buffer& input, const Buffer& dy) {
  Doubles dw(static_cast<size_t>(c.weights().elements()));
  each_product(c, [&](size_t x, size_t w, size_t y) { dw[w] += double{input[x]} * double{dy[y]}; });
  return dw;
}

Doubles bias_grad(const Case& c, const Buffer& dy) {
  Doubles db(static_cast<size_t>(c.filters));
  for (size_t i = 0; i < dy.as().size(); ++i) db[i % db.size()] += dy[i];
  return db;
}

Conv2dDataGradOp data_grad_op(const Case& c) { return {c.attributes(), c.x}; }
Conv2dWeightGradOp weight_grad_op(const Case& c) { return {c.attributes(), c.bias}; }

template <class Make>
std::vector<Buffer> inputs(const Case& c, Make make) {
  std::vector<Buffer> in;
  for (const Type& type : c.types()) in.push_back(make(type.shape, static_cast<unsigned>(in.size() + 1)));
  return in;
}

/// A sum of n products in float errs by at most n * 2^-24 times the sum of their magnitudes; inputs here are below 1.
double tolerance(int64_t products) { return static_cast<double>(products) * 0x1p-23; }

constexpr Padding valid = Padding::valid, same = Padding::same;

std::vector<Case> cases() {
  std::vector<Case> list{
      {{2, 9, 7, 3}, 32, {3, 3}},                              // a first layer on colour images
      {{2, 8, 8, 1}, 6, {5, 5}, {1, 1}, same, 1, true, true},  // lenet's layers
      {{2, 14, 14, 6}, 16, {5, 5}, {1, 1}, valid, 1, true, true},
      {{2, 6, 6, 32}, 64, {3, 3}, {1, 1}, same, 1, true, true},  // seed_cnn's
      {{2, 5, 5, 64}, 128, {1, 1}},
      {{2, 4, 4, 128}, 10, {1, 1}},
      {{2, 9, 9, 64}, 17, {1, 1}, {2, 2}, same, 1, false},  // a projection
      {{2, 8, 8, 64}, 64, {3, 3}, {2, 2}, same, 1, false},
      {{1, 4, 4, 96}, 80, {3, 3}, {1, 1}, same, 1, false},
      {{1, 23, 19, 3}, 64, {7, 7}, {2, 2}, same, 1, false},
      {{1, 1, 1, 3}, 5, {3, 3}},                                          // smaller than its window
      {{1, 2, 70, 2}, 9, {3, 3}, {1, 1}},                                 // rows longer than a block
      {{3, 7, 9, 6}, 8, {3, 3}, {2, 2}, same, 2},                         // groups
      {{2, 9, 11, 8}, 16, {3, 2}, {1, 1}, same, 1, true, false, {2, 3}},  // dilation
      {{2, 12, 15, 4}, 8, {3, 3}, {2, 1}, Padding::valid, 2, true, true, {2, 4}},
      {{2, 6, 5, 32}, 64, {3, 3}, {1, 1}, same, 2, true, true},
      {{2, 9, 8, 16}, 16, {3, 3}, {1, 1}, same, 16},  // depthwise
      {{2, 9, 8, 3}, 6, {3, 3}, {2, 1}, valid, 3, false},
      {{2, 9, 11, 4}, 5, {3, 5}, {2, 3}, same},                  // nothing square
      {{3, 7, 9, 32}, 48, {3, 3}, {1, 1}, same, 1, true, true},  // tiles that hang over, panels of channels
      {{2, 11, 13, 48}, 32, {3, 3}, {1, 1}, valid, 1, false},
      {{1, 40, 41, 32}, 32, {3, 3}},                  // more than one block of tiles
      {{2, 9, 8, 24}, 24, {5, 5}, {1, 1}, same, 24},  // its own kernel: a window that oneDNN is slow with
      {{3, 7, 9, 17}, 17, {5, 5}, {2, 2}, same, 17, false},
      {{2, 9, 12, 35}, 35, {2, 7}, {2, 1}, valid, 35},
      {{1, 11, 9, 16}, 16, {3, 3}, {1, 2}, same, 16, true, true, {2, 3}},
      {{2, 2, 3, 9}, 9, {3, 9}, {1, 1}, same, 9},
      {{2, 7, 8, 4}, 12, {3, 3}, {1, 1}, same, 4},  // three filters a channel
      {{2, 11, 9, 10}, 3, {1, 7}, {1, 2}, valid},
  };
  for (int64_t channels : {1, 3, 6, 10, 16, 17, 64})
    for (int64_t window : {1, 3, 5, 7})
      for (int64_t stride : {1, 2, 3}) {
        const bool odd = (channels + window + stride) % 2 != 0;
        const int64_t filters =
            std::array<int64_t, 4>{1, 10, 16, 33}[static_cast<size_t>(channels + window + stride) % 4];
        list.push_back({{2, 8 + stride, 13 - stride, channels},
                        filters,
                        {window, window},
                        {stride, stride},
                        odd ? same : valid,
                        1,
                        stride != 2,
                        odd});
      }
  return list;
}

class Conv2d : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Cases, Conv2d, testing::ValuesIn(cases()));

TEST_P(Conv2d, IsExactOnIntegers) {
  const Case c = GetParam();
  const auto in = inputs(c, [](Shape s, unsigned seed) { return integers(s, seed); });
  const Buffer dy = integers(c.output(), 9);
  EXPECT_TRUE(close(run_op(c.op(), in)[0], forward(c, in), 0));
  EXPECT_TRUE(close(run_op(data_grad_op(c), {in[1], dy})[0], data_grad(c, in[1], dy), 0));
  const auto gradients = run_op(weight_grad_op(c), {in[0], dy});
  EXPECT_TRUE(close(gradients[0], weight_grad(c, in[0], dy), 0));
  if (c.bias) {
    EXPECT_TRUE(close(gradients[1], bias_grad(c, dy), 0));
  }
}

TEST_P(Conv2d, MatchesTheReference) {
  const Case c = GetParam();
  const auto in = inputs(c, [](Shape s, unsigned seed) { return uniform(s, seed); });
  const Buffer dy = uniform(c.output(), 9);
  const int64_t window = c.weights().elements() / c.filters, pixels = dy.shape().elements() / c.filters;
  EXPECT_TRUE(close(run_op(c.op(), in)[0], forward(c, in), tolerance(window + 1)));
  EXPECT_TRUE(
      close(run_op(data_grad_op(c), {in[1], dy})[0], data_grad(c, in[1], dy), tolerance(c.weights().elements())));
  const auto gradients = run_op(weight_grad_op(c), {in[0], dy});
  EXPECT_TRUE(close(gradients[0], weight_grad(c, in[0], dy), tolerance(pixels)));
  if (c.bias) {
    EXPECT_TRUE(close(gradients[1], bias_grad(c, dy), tolerance(pixels)));
  }
}

TEST_P(Conv2d, GradientsMatchFiniteDifferences) {
  Case c = GetParam();
  c.relu = false;  // has no derivative at its kink; relu's own path is tested below
  const auto in = inputs(c, [](Shape s, unsigned seed) { return uniform(s, seed); });
  std::vector<size_t> all(in.size());
  std::iota(all.begin(), all.end(), 0);
  // A convolution is linear in each input, so that a large step is exact and drowns the rounding of 32 bits.
  EXPECT_TRUE(
      gradient_matches(std::make_shared<Conv2dOp>(c.op()), in, all, {.step = 0.5, .tolerance = 2e-3, .elements = 12}));
}

TEST(Conv2dOp, GradientsPassThroughRelu) {
  const Case c{{2, 6, 7, 5}, 12, {3, 3}, {1, 1}, same, 1, true, true};
  const auto in = inputs(c, [](Shape s, unsigned seed) { return uniform(s, seed); });
  EXPECT_TRUE(gradient_matches(std::make_shared<Conv2dOp>(c.op()), in, {0, 1, 2}, {.step = 1e-3, .tolerance = 2e-2}));
}

TEST(Conv2dOp, ReferenceNoticesAWrongResult) {
  const Case c{{1, 5, 5, 3}, 4, {3, 3}};
  const auto in = inputs(c, [](Shape s, unsigned seed) { return integers(s, seed); });
  const Buffer right = run_op(c.op(), in)[0];
  Buffer wrong = right;
  wrong[7] += 1;
  EXPECT_FALSE(close(wrong, forward(c, in), 0.5));
  wrong[7] = std::nanf("");
  EXPECT_FALSE(close(wrong, forward(c, in), 1e30));
}

TEST(Conv2dOp, PropagatesNaNThroughRelu) {
  // oneDNN's own ReLU makes 0 of it, in shapes of every kernel that it has.
  for (Case c : {Case{{1, 5, 5, 3}, 32, {3, 3}}, Case{{2, 8, 8, 32}, 64, {1, 1}}, Case{{1, 9, 9, 1}, 6, {5, 5}}}) {
    c.relu = true;
    auto in = inputs(c, [](Shape s, unsigned seed) { return uniform(s, seed); });
    for (float& weight : in[1].as()) weight = std::nanf("");
    const Buffer out = run_op(c.op(), in)[0];
    for (float y : out.as()) ASSERT_TRUE(std::isnan(y)) << c;
  }
}

TEST(Conv2dOp, PropagatesNaN) {
  const Case c{{1, 5, 5, 3}, 32, {3, 3}};
  auto in = inputs(c, [](Shape s, unsigned seed) { return uniform(s, seed); });
  Buffer dy = uniform(c.output(), 9);
  in[0][0] = std::nanf("");
  EXPECT_TRUE(std::isnan(run_op(c.op(), in)[0][0]));
  EXPECT_TRUE(std::isnan(run_op(weight_grad_op(c), {in[0], dy})[0][12]));  // w[0,1,1,0] meets x[0,0,0,0]
  dy[0] = std::nanf("");
  EXPECT_TRUE(std::isnan(run_op(data_grad_op(c), {in[1], dy})[0][0]));
}

class Repeats : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Cases, Repeats,
                         testing::Values(Case{{4, 30, 30, 3}, 32, {3, 3}}, Case{{4, 28, 28, 1}, 6, {5, 5}},
                                         Case{{4, 14, 14, 6}, 16, {5, 5}, {1, 1}, valid},
                                         Case{{4, 16, 16, 32}, 64, {3, 3}}, Case{{4, 12, 12, 128}, 10, {1, 1}},
                                         Case{{4, 8, 8, 16}, 16, {3, 3}, {1, 1}, same, 16},
                                         Case{{4, 9, 8, 21}, 21, {5, 5}, {1, 1}, same, 21},
                                         Case{{4, 8, 8, 6}, 6, {1, 1}, {2, 2}}, Case{{4, 8, 8, 6}, 8, {1, 1}, {2, 2}}));

TEST_P(Repeats, SameBitsWhateverLiesInMemory) {
  const Case c = GetParam();
  const auto in = inputs(c, [](Shape s, unsigned seed) { return uniform(s, seed); });
  const Buffer dy = uniform(c.output(), 9);
  const Conv2dWeightGradOp op = weight_grad_op(c);
  const Signature signature{{in[0].type(), dy.type()}, op.infer(std::vector<Type>{in[0].type(), dy.type()})};
  const Kernel kernel = make_kernel(test_backend().kernels, op, signature);
  const auto first = run_kernel(kernel, op, signature, {in[0], dy});
  std::vector<Buffer> occupied;  // moves each run's buffers to other addresses
  for (int i = 0; i < 50; ++i) {
    if (i == 25) run_kernel(kernel, op, signature, {dy.type() == in[0].type() ? dy : in[0], uniform(c.output(), 5)});
    occupied.emplace_back(Type{Shape{1 + i * 37 % 500}}, static_cast<unsigned char>(i));
    const auto again = run_kernel(kernel, op, signature, {in[0], dy});
    ASSERT_TRUE(same_bits(again[0], first[0])) << "run " << i;
    ASSERT_TRUE(same_bits(again[1], first[1])) << "run " << i;
  }
  EXPECT_FALSE(same_bits(run_kernel(kernel, op, signature, {in[0], uniform(c.output(), 5)})[0], first[0]));
  const Buffer y = run_op(c.op(), in)[0], dx = run_op(data_grad_op(c), {in[1], dy})[0];
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(same_bits(run_op(c.op(), in)[0], y));
    ASSERT_TRUE(same_bits(run_op(data_grad_op(c), {in[1], dy})[0], dx));
  }
}

TEST(Conv2dOp, EmitsWeightGradientBeforeDataGradient) {
  const Case c{{2, 6, 6, 3}, 4, {3, 3}, {1, 1}, same, 1, true, true};
  for (const Role role : {Role::activation, Role::lane_input}) {
    Graph graph;
    std::vector<Value> in{graph.source("x", {c.x}, role), graph.source("w", {c.weights()}, Role::parameter),
                          graph.source("b", {Shape{4}}, Role::parameter)};
    graph.add("conv", std::make_shared<Conv2dOp>(c.op()), in);
    const Node node = graph.nodes()[0];
    const Value dy = graph.source("dy", {c.output()}, Role::activation);
    const auto gradients = node.op->backward(graph, node, std::vector<Value>{dy});
    ASSERT_EQ(gradients.size(), 3);
    std::vector<std::string> names;
    for (const Node& n : graph.nodes()) names.push_back(n.name);
    std::vector<std::string> expected{"conv", "conv/relu_grad", "conv/weight_grad"};
    if (role == Role::activation) expected.push_back("conv/data_grad");
    EXPECT_EQ(names, expected);
    EXPECT_EQ(static_cast<bool>(gradients[0]), role == Role::activation);
    EXPECT_EQ(graph.type(gradients[1]).shape, c.weights());
    EXPECT_EQ(graph.type(gradients[2]).shape, (Shape{4}));
  }
}

TEST(Conv2dOp, ShardsTheBatch) {
  const Case c{{2, 6, 6, 3}, 4, {3, 3}};
  const Rule fwd = c.op().rules()[0], data = data_grad_op(c).rules()[0], weight = weight_grad_op(c).rules()[0];
  EXPECT_EQ(fwd.in, (std::vector<Placement>{shard(0), replicate, replicate}));
  EXPECT_EQ(fwd.out, std::vector<Placement>{shard(0)});
  EXPECT_EQ(data.in, (std::vector<Placement>{replicate, shard(0)}));
  EXPECT_EQ(data.out, std::vector<Placement>{shard(0)});
  EXPECT_EQ(weight.in, (std::vector<Placement>{shard(0), shard(0)}));
  EXPECT_EQ(weight.out, (std::vector<Placement>{partial, partial}));
}

TEST(Conv2dOp, SaysWhatIsWrong) {
  const auto infer = [](Conv2dAttributes a, std::vector<Type> in) {
    return error_of([&] { static_cast<void>(Conv2dOp(a, in.size() == 3, false).infer(in)); });
  };
  const Type x{{2, 3, 3, 8}};
  EXPECT_EQ(infer({.kernel = {3, 3}}, {x, {{4, 3, 3, 8}}}), "");
  EXPECT_EQ(infer({.kernel = {5, 5}}, {x, {{4, 5, 5, 8}}}),
            "window 5x5 exceeds its input [2, 3, 3, 8] (padding 0x0 before, 0x0 after)");
  EXPECT_EQ(infer({}, {{{2, 8}}, {{4, 1, 1, 8}}}), "got f32[2, 8], expected images f32[N, H, W, C]");
  EXPECT_EQ(infer({}, {{{2, 3, 3, 8}, DType::u8}, {{4, 1, 1, 8}}}),
            "got u8[2, 3, 3, 8], expected images f32[N, H, W, C]");
  EXPECT_EQ(infer({}, {x, {{4, 1, 1, 7}}}), "the kernel is f32[4, 1, 1, 7], expected f32[4, 1, 1, 8]");
  EXPECT_EQ(infer({}, {x, {{4, 1, 1, 8}}, {{5}}}), "the bias is f32[5], expected f32[4]");
  EXPECT_EQ(infer({.groups = 3}, {x, {{6, 1, 1, 2}}}), "8 input channels and 6 filters do not divide into 3 groups");
  EXPECT_EQ(infer({}, {x}), "got 1 inputs, expected 2");
}

TEST(Conv2DLayer, BuildsItsVariables) {
  Graph graph;
  Builder builder(graph, 8, 8, true);
  builder.enter("c1", 0);
  const Value x = graph.source("x", {{8, 9, 8, 6}}, Role::lane_input);
  const Value y = Conv2D(4, {3, 5}, {.strides = {2, 1}, .padding = same, .activation = Activation::relu, .groups = 2})
                      .build(builder, std::vector<Value>{x});
  EXPECT_EQ(graph.type(y).shape, (Shape{8, 5, 8, 4}));
  ASSERT_EQ(builder.variables().size(), 2);
  EXPECT_EQ(builder.variables()[0].name, "c1/kernel");
  EXPECT_EQ(builder.variables()[0].shape, (Shape{4, 3, 5, 3}));
  EXPECT_EQ(builder.variables()[1].shape, (Shape{4}));
  // 9 rows by stride 2: 5 outputs need one more row on either side; 8 columns by 5: two on either side.
  EXPECT_EQ(graph.nodes()[0].op->attributes(), "3x5 stride 2x1 pad 1x2/1x2 groups 2 +bias");
}

TEST(Conv2DLayer, InitialisesByTheFansOfKeras) {
  // keras.initializers.compute_fans of the kernel (height, width, channels of one group, filters): height * width times
  // the one, or the other, dimension. With groups, fan_out counts the filters of all of them.
  struct Fans {
    int64_t channels, filters, groups, in, out;
  };
  for (const auto& [channels, filters, groups, in, out] :
       {Fans{6, 4, 1, 3 * 5 * 6, 3 * 5 * 4}, {6, 4, 2, 3 * 5 * 3, 3 * 5 * 4}, {6, 12, 6, 3 * 5 * 1, 3 * 5 * 12}}) {
    Graph graph;
    Builder builder(graph, 8, 8, true);
    builder.enter("c1", 0);
    const Value x = graph.source("x", {{8, 9, 8, channels}}, Role::lane_input);
    // Neither stride nor padding counts.
    const Conv2D layer(filters, {3, 5}, {.strides = {2, 1}, .padding = same, .groups = groups});
    static_cast<void>(layer.build(builder, std::vector<Value>{x}));
    const Initializer kernel = builder.variables().at(0).initializer, bias = builder.variables().at(1).initializer;
    EXPECT_EQ(kernel.kind, Initializer::Kind::glorot_uniform);
    EXPECT_EQ(kernel.fan_in, in) << groups << " groups";
    EXPECT_EQ(kernel.fan_out, out) << groups << " groups";
    EXPECT_EQ(bias.kind, Initializer::Kind::constant);
    EXPECT_EQ(bias.constant, 0);
  }
}

TEST(Conv2DLayer, PutsTheOddPixelAfter) {
  Graph graph;
  Builder builder(graph, 1, 1, true);
  builder.enter("c1", 0);
  const Value x = graph.source("x", {{1, 8, 8, 1}}, Role::lane_input);
  static_cast<void>(Conv2D(1, {3, 3}, {.strides = {2, 2}, .padding = same}).build(builder, std::vector<Value>{x}));
  EXPECT_EQ(graph.nodes()[0].op->attributes(), "3x3 stride 2x2 pad 0x0/1x1 +bias");
}

TEST(Conv2DLayer, SaysWhatIsWrong) {
  const auto build = [](Conv2D layer, Shape shape) {
    return error_of([&] {
      Graph graph;
      Builder builder(graph, 2, 1, true);
      builder.enter("stem", 0);
      const Value x = graph.source("x", {shape}, Role::lane_input);
      static_cast<void>(layer.build(builder, std::vector<Value>{x}));
    });
  };
  EXPECT_EQ(build({4, {5, 5}}, {2, 3, 3, 8}),
            "layer 'stem': window 5x5 exceeds its input [2, 3, 3, 8] (padding 0x0 before, 0x0 after)");
  EXPECT_EQ(build({4, {5, 5}}, {2, 72}), "got f32[2, 72], expected images f32[N, H, W, C]");
  EXPECT_EQ(build({0, {1, 1}}, {2, 3, 3, 8}), "0 filters, expected at least 1");
  EXPECT_EQ(build({4, {0, 1}}, {2, 3, 3, 8}), "window 0x1 with strides 1x1: expected at least 1x1 for both");
}

}  // namespace
}  // namespace lockstep::test
