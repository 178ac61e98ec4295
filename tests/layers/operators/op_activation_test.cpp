// Activations against double precision, PyTorch's numbers and finite differences; and that an element's bits depend on
// nothing but the element.
#include "layers/activations/activation.h"

#include <omp.h>

#include <functional>
#include <limits>
#include <nlohmann/json.hpp>

#include "layers/activations/activation_layers.h"
#include "layers/activations/relu.h"
#include "layers/linear/dense.h"
#include "layers/network/network.h"
#include "layers/reshaping/cast.h"
#include "tests/support/op_check.h"
#include "tests/support/source_files.h"

namespace lockstep::test {
namespace {

using Kind = Curve::Kind;

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();
const double root_2 = std::sqrt(2.0), pi = std::acos(-1.0);

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double phi(double x) { return 0.5 * std::erfc(-x / root_2); }
double density(double x) { return std::exp(-0.5 * x * x) / std::sqrt(2 * pi); }
double clip(double x, double low, double high) { return std::min(std::max(x, low), high); }

/// A curve with its function and its derivative, and the errors that the kernels may make.
struct Case {
  Curve curve;
  std::function<double(double)> value, slope;
  double absolute, relative;
  std::vector<float> kinks = {};
};

std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.curve.str(); }

double gelu_tanh_inner(double x) { return std::sqrt(2 / pi) * (x + 0.044715 * x * x * x); }

// An error of an exponential's argument, which is rounded, becomes a relative one of its result: for gelu, of 2^-24
// times x^2 / 2.
const Case cases[]{
    {{Kind::sigmoid}, sigmoid, [](double x) { return sigmoid(x) * sigmoid(-x); }, 1e-37, 6e-7},
    {{Kind::tanh},
     [](double x) { return std::tanh(x); },
     [](double x) { return 1 / (std::cosh(x) * std::cosh(x)); },
     0,
     6e-7},
    {{Kind::silu},
     [](double x) { return x * sigmoid(x); },
     [](double x) { return sigmoid(x) * (1 + x * sigmoid(-x)); },
     1e-35,
     6e-7},
    {{Kind::gelu}, [](double x) { return x * phi(x); }, [](double x) { return phi(x) + x * density(x); }, 1e-12, 4e-6},
    {{Kind::gelu_tanh},
     [](double x) { return x * sigmoid(2 * gelu_tanh_inner(x)); },
     [](double x) {
       const double s = sigmoid(2 * gelu_tanh_inner(x)), inner = std::sqrt(2 / pi) * (1 + 3 * 0.044715 * x * x);
       return s + x * s * (1 - s) * 2 * inner;
     },
     1e-12,
     1e-5},
    {{.kind = Kind::elu, .slope = 1},
     [](double x) { return x < 0 ? std::expm1(x) : x; },
     [](double x) { return x < 0 ? std::exp(x) : 1; },
     0,
     6e-7},
    {{.kind = Kind::elu, .slope = 0.25F},
     [](double x) { return x < 0 ? 0.25 * std::expm1(x) : x; },
     [](double x) { return x < 0 ? 0.25 * std::exp(x) : 1; },
     0,
     6e-7,
     {0}},
    {{Kind::hard_sigmoid},
     [](double x) { return clip(x + 3, 0, 6) / 6; },
     [](double x) { return std::abs(x) < 3 ? 1.0 / 6 : 0; },
     1e-7,
     3e-7,
     {-3, 3}},
    {{Kind::hard_silu},
     [](double x) { return x * clip(x + 3, 0, 6) / 6; },
     [](double x) { return x < -3  ? 0
                           : x < 3 ? (2 * x + 3) / 6
                                   : 1; },
     1e-6,
     3e-7,
     {-3, 3}},
    {{.kind = Kind::linear, .slope = -0.75F},
     [](double x) { return -0.75 * x; },
     [](double) { return -0.75; },
     0,
     1e-7},
    {{.kind = Kind::relu, .slope = 0.3F},
     [](double x) { return x < 0 ? double{0.3F} * x : x; },
     [](double x) { return x > 0 ? 1 : double{0.3F}; },
     0,
     1e-7,
     {0}},
    {{.kind = Kind::relu, .top = 6},
     [](double x) { return clip(x, 0, 6); },
     [](double x) { return x > 0 && x < 6 ? 1 : 0; },
     0,
     0,
     {0, 6}},
    {{.kind = Kind::relu, .slope = 0.5F, .threshold = 1, .top = 4},
     [](double x) { return x < 1 ? 0.5 * (x - 1) : std::min(x, 4.0); },
     [](double x) { return x < 1   ? 0.5
                           : x < 4 ? 1
                                   : 0; },
     0,
     1e-7,
     {1, 4}},
};

/// Numbers of all magnitudes and both signs, none nearer than 1e-3 to a kink.
Buffer numbers(const Case& c) {
  std::vector<float> all;
  for (float x = 1e-6F; x < 300; x *= 1.07F) all.insert(all.end(), {x, -x});
  for (int i = -1600; i < 1600; ++i) all.push_back(static_cast<float>(i) / 160 + 0.0021F);
  std::erase_if(all, [&](float x) {
    return std::ranges::any_of(c.kinks, [&](float kink) { return std::abs(x - kink) < 1e-3F; });
  });
  return filled(Type{Shape{static_cast<int64_t>(all.size())}}, all);
}

Buffer forward(const Curve& curve, const Buffer& x, bool in_place = false) {
  return run_op(ActivationOp(curve), {x}, in_place)[0];
}

Buffer backward(const Curve& curve, const Buffer& x, const Buffer& dy, bool in_place = false) {
  const Buffer kept = curve.gradient_of_input() ? x : forward(curve, x);
  return run_op(ActivationGradOp(curve), {kept, dy}, in_place)[0];
}

class Activations : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Curves, Activations, testing::ValuesIn(cases));

TEST_P(Activations, MatchTheReference) {
  const auto& [curve, value, slope, absolute, relative, kinks] = GetParam();
  const Buffer x = numbers(GetParam()), dy = uniform(x.shape(), 3);
  std::vector<double> expected, gradient;
  for (size_t i = 0; i < x.as().size(); ++i) {
    expected.push_back(value(double{x[i]}));
    gradient.push_back(double{dy[i]} * slope(double{x[i]}));
  }
  for (const bool in_place : {false, true}) {
    EXPECT_TRUE(close(forward(curve, x, in_place), expected, absolute, relative));
    // The slope is a difference (1 - y^2, y (1 - y), s + x s (1 - s)) whose terms are near 1 at most.
    EXPECT_TRUE(close(backward(curve, x, dy, in_place), gradient, 2e-6, 1e-6));
  }
  Buffer wrong = forward(curve, x);
  wrong[7] += 1e-3F;
  EXPECT_FALSE(close(wrong, expected, absolute, relative));
}

TEST_P(Activations, GradientMatchesFiniteDifferences) {
  const auto& [curve, value, slope, absolute, relative, kinks] = GetParam();
  Buffer x = uniform({3, 50}, 4, -5, 7);
  for (float& v : x.as())
    for (const float kink : kinks)
      if (std::abs(v - kink) < 0.1F) v = kink + 0.3F;
  EXPECT_TRUE(gradient_matches(std::make_shared<ActivationOp>(curve), {x}, {0}));
}

TEST_P(Activations, BitsDoNotDependOnPosition) {
  const Curve curve = GetParam().curve;
  const Buffer x = uniform({21}, 5, -8, 8), dy = uniform({21}, 6);
  const Buffer y = forward(curve, x), dx = backward(curve, x, dy);
  // Of 21 elements, 16 are computed in vectors and 5 alone; turned, each is both at some time.
  for (size_t shift = 1; shift < 21; ++shift) {
    Buffer turned = x, turned_dy = dy;
    for (size_t i = 0; i < 21; ++i) {
      turned[(i + shift) % 21] = x[i];
      turned_dy[(i + shift) % 21] = dy[i];
    }
    const Buffer there = forward(curve, turned), gradient = backward(curve, turned, turned_dy);
    for (size_t i = 0; i < 21; ++i) {
      ASSERT_EQ(there[(i + shift) % 21], y[i]);
      ASSERT_EQ(gradient[(i + shift) % 21], dx[i]);
    }
  }
}

TEST_P(Activations, ThreadsDoNotChangeBits) {
  const Curve curve = GetParam().curve;
  const Buffer x = uniform({200, 301}, 5, -8, 8), dy = uniform({200, 301}, 6);
  const Buffer y = forward(curve, x), dx = backward(curve, x, dy);
  const int threads = omp_get_max_threads();
  omp_set_num_threads(3);
  EXPECT_TRUE(same_bits(forward(curve, x), y));
  EXPECT_TRUE(same_bits(backward(curve, x, dy), dx));
  omp_set_num_threads(threads);
}

TEST_P(Activations, NaNStaysNaNAndLargeNumbersAreFinite) {
  const Curve curve = GetParam().curve;
  const Buffer broken = forward(curve, filled(Type{Shape{9}}, std::vector<float>(9, nan)));
  for (const float y : broken.as()) EXPECT_TRUE(std::isnan(y));
  const std::vector<float> large{1e30F, -1e30F, 88, -88, 200, -200, 1e9F, -1e9F, 3e38F, -3e38F};
  const Buffer x = filled(Type{Shape{10}}, large), dy = filled(Type{Shape{10}}, std::vector<float>(10, 1));
  const Buffer y = forward(curve, x), dx = backward(curve, x, dy);
  for (size_t i = 0; i < 10; ++i) {
    EXPECT_TRUE(std::abs(double{y[i]} - GetParam().value(double{x[i]})) <= 1e-6 * std::abs(double{x[i]})) << x[i];
    EXPECT_TRUE(std::abs(double{dx[i]} - GetParam().slope(double{x[i]})) <= 1e-6) << x[i];
  }
}

TEST_P(Activations, ComputeIn32BitsAndRoundOnce) {
  if (!on_cuda()) GTEST_SKIP() << "the CPU computes in f32";
  const Curve curve = GetParam().curve;
  for (const DType dtype : {DType::f16, DType::bf16}) {
    const auto narrow = [&](const Buffer& wide) { return run_op(CastOp(dtype), {wide})[0]; };
    const auto wide = [](const Buffer& of) { return run_op(CastOp(DType::f32), {of})[0]; };
    const Buffer x = narrow(uniform({1003}, 5, -8, 8)), dy = narrow(uniform({1003}, 6));
    const Buffer y = forward(curve, x);
    EXPECT_TRUE(same_bits(y, narrow(forward(curve, wide(x)))));
    const Buffer& kept = curve.gradient_of_input() ? x : y;
    EXPECT_TRUE(same_bits(run_op(ActivationGradOp(curve), {kept, dy})[0],
                          narrow(run_op(ActivationGradOp(curve), {wide(kept), wide(dy)})[0])));
  }
}

const std::map<std::string, Curve> golden_curves{{"sigmoid", curve_of(Activation::sigmoid)},
                                                 {"tanh", curve_of(Activation::tanh)},
                                                 {"silu", curve_of(Activation::silu)},
                                                 {"gelu", curve_of(Activation::gelu)},
                                                 {"gelu_tanh", GELU(true).curve()},
                                                 {"elu", curve_of(Activation::elu)},
                                                 {"elu slope 0.5", ELU(0.5F).curve()},
                                                 {"leaky_relu", curve_of(Activation::leaky_relu)},
                                                 {"relu6", curve_of(Activation::relu6)},
                                                 {"hard_sigmoid", curve_of(Activation::hard_sigmoid)},
                                                 {"hard_silu", curve_of(Activation::hard_silu)}};

Buffer ones_like(const Buffer& x) { return filled(x.type(), std::vector<float>(x.as().size(), 1)); }

TEST(Activation, MatchesPyTorch) {
  const auto golden = golden_json("activations.json");
  const auto points = golden["x"].get<std::vector<float>>();
  const Buffer x = filled(Type{Shape{static_cast<int64_t>(points.size())}}, points);
  ASSERT_EQ(golden["functions"].size(), golden_curves.size());
  for (const auto& [name, curve] : golden_curves) {
    const auto& function = golden["functions"].at(name);
    EXPECT_TRUE(close(forward(curve, x), function["y"].get<std::vector<double>>(), 1e-6, 1e-6)) << name;
    EXPECT_TRUE(close(backward(curve, x, ones_like(x)), function["dy"].get<std::vector<double>>(), 1e-6, 1e-6)) << name;
  }
  const auto other = golden["functions"]["gelu_tanh"]["y"].get<std::vector<double>>();
  EXPECT_FALSE(close(forward(curve_of(Activation::gelu), x), other, 1e-6, 1e-6)) << "the approximation is not the same";
}

TEST(Activation, SlopesInKinksAreAsInPyTorch) {
  const auto kinks = golden_json("activations.json")["kinks"];
  for (const char* name : {"relu", "relu6", "elu", "elu slope 0.5", "leaky_relu", "hard_sigmoid", "hard_silu"}) {
    std::vector<float> points;
    std::vector<double> y, dy;
    for (int copies = 0; copies < 5; ++copies)  // in a vector's body and alone
      for (size_t i = 0; i < kinks.at(name)["x"].size(); ++i) {
        points.push_back(kinks[name]["x"][i]);
        y.push_back(kinks[name]["y"][i]);
        dy.push_back(kinks[name]["dy"][i]);
      }
    const Buffer x = filled(Type{Shape{static_cast<int64_t>(points.size())}}, points);
    const bool plain = name == std::string("relu");
    const Buffer value = plain ? run_op(ReluOp(), {x})[0] : forward(golden_curves.at(name), x);
    const Buffer slope =
        plain ? run_op(ReluGradOp(), {value, ones_like(x)})[0] : backward(golden_curves.at(name), x, ones_like(x));
    EXPECT_TRUE(close(value, y, 1e-7, 1e-6)) << name;
    EXPECT_TRUE(close(slope, dy, 1e-7, 1e-6)) << name;
    dy[0] += 0.125;
    EXPECT_FALSE(close(slope, dy, 1e-7, 1e-6)) << name;
  }
}

TEST(Activation, IsBuiltByNameBehindALayer) {
  Graph graph;
  Builder builder(graph, 4, 1, true);
  const Value x = graph.source("x", {Shape{4, 7}}, Role::lane_input);
  for (int i = 0; i <= static_cast<int>(Activation::hard_silu); ++i) {
    const auto activation = static_cast<Activation>(i);
    builder.enter(fmt::format("layer{}", i), 0);
    const Value y = builder.activate(x, activation);
    if (activation == Activation::linear) {
      EXPECT_TRUE(y == x);
      continue;
    }
    EXPECT_EQ(graph.info(y).name, fmt::format("layer{}/{}", i, name_of(activation)));
    const Op& op = *graph.node(graph.info(y).producer).op;
    const bool own = activation == Activation::relu || activation == Activation::softmax;
    EXPECT_EQ(op.name(), own ? name_of(activation) : "activation");
  }
}

TEST(Activation, IsALayerByName) {
  for (int i = 0; i <= static_cast<int>(Activation::hard_silu); ++i) {
    const auto activation = static_cast<Activation>(i);
    const std::string text = fmt::format(R"({{"layers": [{{"type": "Input", "shape": [4]}},
        {{"type": "Activation", "activation": "{}"}}, {{"type": "Dense", "units": 3}}]}})",
                                         name_of(activation));
    const Network read = network_from_json(text, "m.json");
    EXPECT_EQ(network_to_json(network_from_json(network_to_json(read), "again")), network_to_json(read));
    EXPECT_EQ(read.layer_names(), (std::vector<std::string>{"input", "activation", "dense"}));
    // The nodes that the layer before it would have had, and so the kernels and the bits.
    const auto operators = [](const Network& network) {
      std::vector<std::string> all;
      const Built built = network.build(2, 1, true);
      for (const Node& node : built.graph.nodes())
        all.push_back(fmt::format("{} {}", node.op->name(), node.op->attributes()));
      return all;
    };
    const auto behind = [](Activation own, const std::function<Symbol(Symbol)>& then) {
      return Network("m", Dense(3)(then(Dense(4, {.activation = own})(Input({4})))));
    };
    const auto none = [](Symbol x) { return x; };
    const auto layer = [&](Symbol x) { return ActivationLayer(activation)(x); };
    EXPECT_EQ(operators(behind(Activation::linear, layer)), operators(behind(activation, none)));
    if (activation != Activation::linear) {
      EXPECT_NE(operators(behind(Activation::linear, layer)), operators(behind(Activation::linear, none)));
    }
  }
  const auto error = [](const std::string& options) {
    return error_of([&] {
      network_from_json(R"({"layers": [{"type": "Input", "shape": [4]}, {"type": "Activation")" + options + "}]}", "m");
    });
  };
  EXPECT_NE(error("").find("key 'activation' is missing, expected one of linear, relu"), std::string::npos);
  EXPECT_NE(error(R"(, "activation": "rellu")").find("\"rellu\", expected one of linear, relu"), std::string::npos);
}

TEST(Activation, JsonKnowsTheNames) {
  const auto model = [](const std::string& layer) {
    return network_from_json(R"({"name": "m", "layers": [{"type": "Input", "shape": [4]}, )" + layer + "]}", "m.json");
  };
  for (const auto& [given, kept] : std::map<std::string, std::string>{{"swish", "silu"},
                                                                      {"hard_swish", "hard_silu"},
                                                                      {"gelu", "gelu"},
                                                                      {"leaky_relu", "leaky_relu"},
                                                                      {"relu6", "relu6"}}) {
    const std::string text = network_to_json(model(R"({"type": "Dense", "units": 3, "activation": ")" + given + "\"}"));
    EXPECT_NE(text.find(fmt::format("\"activation\": \"{}\"", kept)), std::string::npos) << text;
  }
  EXPECT_NE(error_of([&] {
              model(R"({"type": "Dense", "units": 3, "activation": "swoosh"})");
            }).find("key 'activation' is \"swoosh\", expected one of linear, relu, softmax, sigmoid, tanh, silu"),
            std::string::npos);
  for (const std::string layer :
       {R"({"type": "ReLU", "max_value": 6})", R"({"type": "ReLU", "max_value": null})",
        R"({"type": "LeakyReLU", "negative_slope": 0.1})", R"({"type": "ELU"})",
        R"({"type": "GELU", "approximate": true})", R"({"type": "SiLU"})", R"({"type": "Sigmoid"})",
        R"({"type": "Tanh"})", R"({"type": "HardSigmoid"})", R"({"type": "HardSwish"})"}) {
    const std::string text = network_to_json(model(layer));
    EXPECT_EQ(network_to_json(network_from_json(text, "again")), text);
  }
  EXPECT_NE(error_of([&] {
              model(R"({"type": "ReLU", "max_value": "six"})");
            }).find("key 'max_value' is \"six\", expected a number or null"),
            std::string::npos);
}

TEST(Activation, ReluWithoutOptionsIsTheFusedOne) {
  Graph graph;
  Builder builder(graph, 4, 1, true);
  const std::vector<Value> x{graph.source("x", {Shape{4, 7}}, Role::lane_input)};
  const auto kind = [&](const ReLU& layer, std::string name) {
    builder.enter(std::move(name), 0);
    layer.build(builder, x);
    return std::string(graph.nodes().back().op->name()) + " " + graph.nodes().back().op->attributes();
  };
  EXPECT_EQ(kind(ReLU(), "a"), "relu ");
  EXPECT_EQ(kind(ReLU({.max_value = 6.0F}), "b"), "activation relu top 6");
  EXPECT_EQ(kind(ReLU({.negative_slope = 0.5F, .threshold = 1}), "c"), "activation relu slope 0.5 threshold 1");
}

TEST(Activation, SaysWhatIsWrong) {
  const auto error = [](const Curve& curve) { return error_of([&] { ActivationOp{curve}; }); };
  EXPECT_EQ(error({.kind = Kind::relu, .slope = -1}), "got negative_slope -1, expected a number of at least 0");
  EXPECT_EQ(error({.kind = Kind::elu, .slope = nan}), "got alpha nan, expected a number of at least 0");
  EXPECT_EQ(error({.kind = Kind::relu, .threshold = -1}), "got threshold -1, expected a number of at least 0");
  EXPECT_EQ(error({.kind = Kind::relu, .top = 0}),
            "got max_value 0, expected a number above 0 and above the threshold");
  EXPECT_EQ(error({.kind = Kind::relu, .threshold = 3, .top = 2}),
            "got max_value 2, expected a number above 0 and above the threshold");
  EXPECT_EQ(error({.kind = Kind::linear, .slope = infinity}), "got slope inf, expected a number");
  EXPECT_EQ(error({Kind::gelu}), "");
  EXPECT_EQ(error_of([] {
              ActivationOp({Kind::tanh}).infer(std::vector<Type>{{Shape{3}, DType::i32}});
            }),
            "got i32[3], expected elements of type f32, f16 or bf16");
}

}  // namespace
}  // namespace lockstep::test
