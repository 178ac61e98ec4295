// Single layers of the convolution family against PyTorch's numbers, made by tests/golden/make_layers.py: outputs and
// the gradients of the images and of every variable.
#include <nlohmann/json.hpp>

#include "layers/ops.h"
#include "tests/support/op_check.h"
#include "tests/support/source_files.h"

namespace lockstep::test {
namespace {

/// The formula of make_layers.py.
Buffer wave(const Type& type, double phase) {
  Buffer buffer(type);
  for (size_t i = 0; i < buffer.as().size(); ++i)
    buffer[i] = static_cast<float>(std::sin(0.7 * static_cast<double>(i) + phase));
  return buffer;
}

/// Adds the backward nodes of a graph's nodes so far, from dy of the value `y`; the gradients by value.
std::map<int, Value> backward(Graph& graph, Value y, Value dy) {
  std::map<int, Value> gradients{{y.id, dy}};
  const std::vector<Node> nodes = graph.nodes();
  for (auto node = nodes.rbegin(); node != nodes.rend(); ++node) {
    std::vector<Value> of_outputs;
    for (Value out : node->out) of_outputs.push_back(gradients.contains(out.id) ? gradients[out.id] : Value{});
    const auto of_inputs = node->op->backward(graph, *node, of_outputs);
    for (size_t i = 0; i < of_inputs.size(); ++i) gradients[node->in[i].id] = of_inputs[i];
  }
  return gradients;
}

/// The largest difference to the golden numbers, relative to 1 + |golden|; NaN counts as infinite.
double worst_difference(const std::string& key, const Layer& layer, const Shape& image) {
  const auto golden = golden_json("layers.json").at(key);
  double worst = 0;
  const auto compare = [&](const Buffer& got, const nlohmann::json& wanted) {
    if (got.as().size() != wanted.size()) throw Error("{}: {} for {} numbers", key, got.type().str(), wanted.size());
    for (size_t i = 0; i < wanted.size(); ++i) {
      const double want = wanted[i].get<double>(), difference = std::abs(got[i] - want) / (1 + std::abs(want));
      worst = difference <= worst ? worst : std::isnan(difference) ? INFINITY : difference;
    }
  };
  Graph graph;
  Builder builder(graph, image[0], 1, true);
  builder.enter("layer", 0);
  std::map<int, Buffer> values;
  const Value x = graph.source("x", {image}, Role::activation);
  values[x.id] = wave({image}, 0.3);
  const Value y = layer.build(builder, std::vector<Value>{x});
  std::vector<Value> sources{x};
  for (const Variable& variable : builder.variables()) {
    sources.push_back(graph.find(variable.name));
    values[sources.back().id] = wave({variable.shape}, static_cast<double>(sources.size()) - 1.0);
  }
  const Value dy = graph.source("dy", graph.type(y), Role::activation);
  values[dy.id] = wave(graph.type(y), 5.0);
  auto gradients = backward(graph, y, dy);
  run_graph(graph, values);
  compare(values.at(y.id), golden["y"]);
  if (golden["gradients"].size() != sources.size()) throw Error("{}: another number of variables", key);
  for (size_t i = 0; i < sources.size(); ++i)
    compare(values.at(gradients.at(sources[i].id).id), golden["gradients"][i]);
  return worst;
}

// The golden numbers are made in double precision; these sums have at most 60 terms below 1.
constexpr double tolerance = 5e-6;

TEST(LayersGolden, ConvolutionsAgreeWithPyTorch) {
  const Conv2DOptions conv{.strides = {2, 2}, .padding = {{0, 1}, {2, 1}}, .groups = 2, .dilation_rate = {1, 2}};
  EXPECT_LE(worst_difference("conv2d", Conv2D(6, {3, 2}, conv), {2, 6, 7, 4}), tolerance);
  const DepthwiseConv2DOptions depthwise{.strides = {2, 2}, .padding = 1, .depth_multiplier = 2};
  EXPECT_LE(worst_difference("depthwise", DepthwiseConv2D({3, 3}, depthwise), {2, 5, 6, 3}), tolerance);
  const DepthwiseConv2D wide({5, 5}, {.padding = Padding::same, .use_bias = false});
  EXPECT_LE(worst_difference("depthwise5", wide, {2, 6, 5, 9}), tolerance);
  const SeparableConv2D separable(4, {3, 3}, {.padding = Padding::same});
  EXPECT_LE(worst_difference("separable", separable, {1, 4, 5, 3}), tolerance);
}

TEST(LayersGolden, TransposedConvolutionsAgreeWithPyTorch) {
  const Size2 twice{2, 2};
  const Conv2DTranspose padded(2, {3, 3}, {.strides = twice, .padding = 1, .output_padding = {1, 1}});
  EXPECT_LE(worst_difference("transpose", padded, {2, 3, 4, 3}), tolerance);
  const Conv2DTranspose dilated(2, {2, 3}, {.use_bias = false, .dilation_rate = twice});
  EXPECT_LE(worst_difference("transpose_dilated", dilated, {1, 3, 4, 3}), tolerance);
  const Conv2DTranspose same(2, {3, 3}, {.strides = twice, .padding = Padding::same});
  EXPECT_LE(worst_difference("transpose_same", same, {1, 3, 4, 3}), tolerance);
}

TEST(LayersGolden, ResizingAndPoolingAgreeWithPyTorch) {
  EXPECT_LE(worst_difference("zero_padding", ZeroPadding2D({{1, 2}, {0, 3}}), {1, 3, 2, 3}), tolerance);
  EXPECT_LE(worst_difference("nearest", UpSampling2D({2, 3}), {2, 3, 2, 3}), tolerance);
  const UpSampling2D bilinear({3, 2}, {.interpolation = Interpolation::bilinear});
  EXPECT_LE(worst_difference("bilinear", bilinear, {2, 3, 4, 3}), tolerance);
  EXPECT_LE(worst_difference("global_max", GlobalMaxPooling2D(), {2, 3, 4, 3}), tolerance);
  const PoolOptions pool{.strides = {2, 2}, .padding = 1};
  EXPECT_LE(worst_difference("max_pool", MaxPooling2D({3, 3}, pool), {1, 6, 5, 3}), tolerance);
  EXPECT_LE(worst_difference("average_pool", AveragePooling2D({3, 3}, pool), {1, 6, 5, 3}), tolerance);
}

TEST(LayersGolden, AnotherLayerDoesNotAgree) {
  const Conv2DTranspose shifted(2, {3, 3}, {.strides = {2, 2}, .padding = {{1, 0}, {0, 1}}});
  EXPECT_GT(worst_difference("transpose_same", shifted, {1, 3, 4, 3}), 1e-2);
  EXPECT_GT(worst_difference("nearest", UpSampling2D({2, 3}, {.interpolation = Interpolation::bilinear}), {2, 3, 2, 3}),
            1e-2);
}

struct Enlarged {
  int64_t from, kernel, stride;
  Padding padding;
  int64_t output_padding, dilation, to;
};

TEST(Conv2DTransposeLayer, CountsItsOutputsAsKeras) {
  // keras.layers.Conv2DTranspose(...).compute_output_shape.
  const Padding valid = Padding::valid, same = Padding::same;
  for (const Enlarged& c : {Enlarged{5, 3, 2, valid, -1, 1, 11},
                            {5, 2, 3, valid, -1, 1, 15},
                            {5, 3, 2, valid, 1, 1, 12},
                            {5, 3, 2, same, -1, 1, 10},
                            {5, 3, 2, same, 0, 1, 9},
                            {5, 3, 2, same, 1, 1, 10},
                            {5, 4, 2, same, 0, 1, 8},
                            {5, 3, 1, valid, -1, 2, 9},
                            {5, 3, 2, 1, -1, 1, 9},
                            {5, 3, 2, 1, 1, 1, 10},
                            {5, 4, 2, {{1, 1}, {1, 1}}, -1, 1, 10}}) {
    Graph graph;
    Builder builder(graph, 1, 1, true);
    builder.enter("up", 0);
    const Value x = graph.source("x", {{1, c.from, c.from, 3}}, Role::activation);
    const Conv2DTranspose layer(2, {c.kernel, c.kernel},
                                {.strides = {c.stride, c.stride},
                                 .padding = c.padding,
                                 .output_padding = {c.output_padding, c.output_padding},
                                 .dilation_rate = {c.dilation, c.dilation}});
    const Value y = layer.build(builder, std::vector<Value>{x});
    EXPECT_EQ(graph.type(y).shape, (Shape{1, c.to, c.to, 2})) << c.to << " of kernel " << c.kernel;
    EXPECT_EQ(builder.variables()[0].shape, (Shape{3, c.kernel, c.kernel, 2}));
  }
}

TEST(ConvolutionFamily, SaysWhatIsWrong) {
  const auto build = [](const Layer& layer) {
    return error_of([&] {
      Graph graph;
      Builder builder(graph, 1, 1, true);
      builder.enter("l", 0);
      const Value x = graph.source("x", {{1, 3, 3, 2}}, Role::activation);
      static_cast<void>(layer.build(builder, std::vector<Value>{x}));
    });
  };
  EXPECT_EQ(build(Conv2DTranspose(2, {3, 3}, {.strides = {2, 2}, .output_padding = {2, 0}})),
            "layer 'l': output_padding 2 with strides 2: expected less than the stride, or -1");
  EXPECT_EQ(build(Conv2DTranspose(2, {3, 3}, {.padding = 4})),
            "layer 'l': f32[1, 3, 3, 2] would become -3 pixels, expected at least 1");
  EXPECT_EQ(build(ZeroPadding2D(Padding::same)),
            "layer 'l': padding is a word, expected pixels, such as [[1, 1], [1, 1]]");
  EXPECT_EQ(build(ZeroPadding2D(-1)), "layer 'l': padding [-1, -1]: expected no negative pixels");
  EXPECT_EQ(build(DepthwiseConv2D({3, 3}, {.depth_multiplier = 0})),
            "layer 'l': depth_multiplier is 0, expected at least 1");
  EXPECT_EQ(build(SeparableConv2D(0, {3, 3})), "0 filters, expected at least 1");
  EXPECT_EQ(build(UpSampling2D({0, 2})),
            "layer 'l': size 0x2 for f32[1, 3, 3, 2]: expected at least 1x1, and images that can be counted");
}

}  // namespace
}  // namespace lockstep::test
