// Networks: names, shapes, parameter counts, JSON models and their errors, initialisers, fusion.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "launch/plan/variables.h"
#include "layers/ops.h"
#include "layers/passes/fuse.h"
#include "layers/zoo/zoo.h"
#include "tests/support/errors.h"

namespace lockstep {
namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Network, NumbersLayersAsKerasDoes) {
  const Network network = seed_cnn({32, 32, 1}, 10);
  std::vector<std::string> names;
  for (const NetworkLayer& layer : network.layers()) names.push_back(layer.layer->name);
  EXPECT_EQ(names,
            (std::vector<std::string>{"input", "conv2d", "max_pooling2d", "conv2d_1", "max_pooling2d_1", "conv2d_2",
                                      "max_pooling2d_2", "conv2d_3", "global_average_pooling2d", "softmax"}));
  EXPECT_EQ(network.variables()[2].name, "conv2d_1/kernel");
  EXPECT_EQ(network.variables()[2].shape, (Shape{64, 3, 3, 32}));
}

TEST(Network, SummaryIsKerasTable) {
  const std::string text = lenet5({28, 28, 1}, 10).summary();
  EXPECT_TRUE(contains(text, "Model: \"lenet5\""));
  EXPECT_TRUE(contains(text, "conv2d (Conv2D)                              (None, 28, 28, 6)                156"));
  EXPECT_TRUE(contains(text, "Total params: 61,706"));
  EXPECT_TRUE(contains(resnet18({32, 32, 3}, 10).summary(), "stage1_block1_2_norm, stem_relu"));
}

TEST(Network, AWindowThatExceedsItsInputNamesLayerAndShapes) {
  const std::string text = test::error_of([] { lenet5({8, 8, 1}, 10); });
  EXPECT_TRUE(contains(text, "conv2d_1")) << text;
  EXPECT_TRUE(contains(text, "5x5")) << text;
  EXPECT_TRUE(contains(text, "4, 4, 6")) << text;
}

TEST(Network, RefusesTwoLayersOfOneName) {
  const Symbol x = Dense(3).named("a")(Flatten()(Input({4, 4, 1})));
  EXPECT_TRUE(contains(test::error_of([&] { Network("n", Dense(3).named("a")(x)); }), "two layers are named 'a'"));
}

TEST(NetworkJson, RoundTripsTheWholeZoo) {
  for (const std::string& name : zoo_names()) {
    const Network network = zoo_model(name, {64, 64, 3}, 10);
    const std::string text = network_to_json(network);
    const Network read = network_from_json(text, "x.json");
    EXPECT_EQ(network_to_json(read), text);
    EXPECT_EQ(read.summary(), network.summary());
  }
}

constexpr const char* good = R"({
  "name": "tiny",
  "layers": [
    {"type": "Input", "shape": [8, 8, 1]},
    {"type": "Conv2D", "filters": 4, "kernel_size": 3, "activation": "relu", "name": "c"},
    {"type": "Flatten"},
    {"type": "Dense", "units": 10, "activation": "softmax"}
  ]
})";

std::string with(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  if (at == std::string::npos) throw Error("the test looks for '{}'", from);
  return text.replace(at, from.size(), to);
}

TEST(NetworkJson, ErrorsNameFileLineAndKey) {
  EXPECT_EQ(network_from_json(good, "m.json").layers().size(), 4U);
  const auto error = [](const std::string& from, const std::string& to) {
    return test::error_of([&] { network_from_json(with(good, from, to), "m.json"); });
  };
  EXPECT_TRUE(contains(error("\"filters\"", "\"filtres\""), "m.json:5")) << error("\"filters\"", "\"filtres\"");
  EXPECT_TRUE(contains(error("\"filters\": 4, ", ""), "key 'filters' is missing"));
  EXPECT_TRUE(
      contains(error("\"units\": 10", "\"units\": \"ten\""), "m.json:7: layers[3].units: key 'units' is \"ten\""));
  EXPECT_TRUE(contains(error("\"activation\": \"relu\"", "\"activation\": \"rulu\""), "one of linear, relu, softmax"));
  EXPECT_TRUE(contains(error("\"Conv2D\"", "\"Conv2d_\""), "did you mean 'Conv2D'"));
  EXPECT_TRUE(contains(error("\"name\": \"c\"", "\"nmae\": \"c\""), "unknown option of Conv2D 'nmae'"));
  EXPECT_TRUE(contains(error("\"name\": \"c\"", "\"nmae\": \"c\""), "did you mean 'name'"));
  EXPECT_TRUE(contains(error("{\"type\": \"Flatten\"}", "{\"type\": \"Flatten\", \"inputs\": [\"q\"]}"), "m.json:6"));
  EXPECT_TRUE(contains(error("\"shape\": [8, 8, 1]}", "\"shape\": [8, 8, 1]"), "m.json:5:"))
      << error("\"shape\": [8, 8, 1]}", "\"shape\": [8, 8, 1]");
  EXPECT_TRUE(contains(error("\"kernel_size\": 3", "\"kernel_size\": 9"), "m.json:5: layers[1]: layer 'c': window 9x9"))
      << error("\"kernel_size\": 3", "\"kernel_size\": 9");
  EXPECT_TRUE(contains(error("\"Flatten\"", "\"MaxPooling2D\", \"strides\": 0"), "m.json:6: layers[2]: layer 'max_p"))
      << error("\"Flatten\"", "\"MaxPooling2D\", \"strides\": 0");
  EXPECT_TRUE(contains(error("\"Flatten\"", "\"Dropout\", \"rate\": 1.5"), "m.json:6: layers[2]: layer 'dropout'"));
  EXPECT_TRUE(contains(error("\"tiny\"", "3"), "m.json:2: name: expected a name, got 3"));
  EXPECT_TRUE(contains(error("\"name\": \"c\"", "\"name\": 3"), "m.json:5: layers[1].name"));
  for (const char* huge : {"4611686018427387904", "18446744073709551615", "-1e40"})
    EXPECT_TRUE(contains(error("\"units\": 10", fmt::format("\"units\": {}", huge)), "up to 2^31")) << huge;
  EXPECT_TRUE(contains(error("4, \"kernel_size\": 3", "2147483648, \"kernel_size\": 2147483647"), "m.json:5"));
}

/// The keys of a layer's options, with values for those that have no default.
class Keys final : public Fields {
 public:
  std::vector<std::pair<std::string, std::string>> all;
  void field(std::string_view key, int64_t&, bool needed) override { add(key, needed ? "1" : ""); }
  void field(std::string_view key, Size2&, bool needed) override { add(key, needed ? "1" : ""); }
  void field(std::string_view key, std::vector<int64_t>&, bool needed) override { add(key, needed ? "[1]" : ""); }
  void field(std::string_view key, float&, bool needed) override { add(key, needed ? "0.5" : ""); }
  void field(std::string_view key, bool&, bool needed) override { add(key, needed ? "true" : ""); }
  void field(std::string_view key, std::optional<float>&) override { add(key, ""); }
  void field(std::string_view key, Regularizer&) override { add(key, ""); }
  void field(std::string_view key, Padding&) override { add(key, ""); }
  /// Options as JSON: what is needed but `key`, and that.
  std::string with(const std::string& key, const std::string& value) const {
    std::string text = fmt::format(R"("{}": {})", key, value);
    for (const auto& [other, needed] : all)
      if (other != key && !needed.empty()) text += fmt::format(R"(, "{}": {})", other, needed);
    return text;
  }

 protected:
  void choose(std::string_view key, int&, std::span<const std::string> names, bool needed) override {
    add(key, needed ? '"' + names[0] + '"' : "");
  }

 private:
  void add(std::string_view key, const std::string& needed) { all.emplace_back(key, needed); }
};

/// The words after "expected one of ".
std::vector<std::string> listed(const std::string& text) {
  const std::string start = "expected one of ";
  std::vector<std::string> words;
  size_t at = text.find(start);
  const size_t end = std::min(text.find(';', at), text.size());
  for (at = at == std::string::npos ? end : at + start.size(); at < end; at += words.back().size() + 2)
    words.push_back(text.substr(at, std::min(text.find(", ", at), end) - at));
  return words;
}

template <class LayerClass>
void expect_errors_that_tell_what_is_expected() {
  LayerClass layer;
  Keys keys;
  layer.describe(keys);
  const std::string type(layer.type());
  const auto error = [&](const std::string& key, const std::string& value) {
    const std::string text = R"({"layers": [{"type": "Input", "shape": [8, 8, 4]}, {"type": ")" + type + R"(", )" +
                             keys.with(key, value) + "}]}";
    return test::error_of([&] { network_from_json(text, "m.json"); });
  };
  std::vector<std::string> known;
  for (const auto& [key, needed] : keys.all) known.push_back(key);
  for (const char* of_all : {"type", "name", "inputs"}) known.emplace_back(of_all);
  const std::string unknown = error("bogus", "1");
  EXPECT_TRUE(contains(unknown, "m.json:1: layers[1].bogus: unknown option of " + type + " 'bogus'")) << unknown;
  EXPECT_EQ(listed(unknown), known) << unknown;
  for (const auto& [key, needed] : keys.all) {
    const std::string wrong = error(key, R"({"bogus": 1})");
    const std::string start = fmt::format(R"(layers[1].{0}: key '{0}' is {{"bogus":1}}, expected )", key);
    ASSERT_TRUE(contains(wrong, start)) << type << ": " << wrong;
    EXPECT_GT(wrong.size(), wrong.find(start) + start.size() + 4) << type << ": " << wrong;
    EXPECT_EQ(contains(wrong, "one of"), !listed(wrong).empty()) << type << ": " << wrong;
    // Each word that is offered is taken.
    for (const std::string& word : listed(wrong))
      EXPECT_FALSE(contains(error(key, '"' + word + '"'), "key '" + key + "' is")) << type << ": " << word;
  }
}

TEST(NetworkJson, EachLayersErrorsTellWhatIsExpected) {
#define LOCKSTEP_LAYER(Class) expect_errors_that_tell_what_is_expected<Class>();
#include "layers/list.inc"
}

TEST(NetworkJson, PaddingIsAWordOrPixels) {
  const auto padded = [](const std::string& padding) {
    const std::string text = with(good, "\"kernel_size\": 3", "\"kernel_size\": 3, \"padding\": " + padding);
    const Network network = network_from_json(text, "m.json");
    // What is written is read as the same.
    EXPECT_EQ(network_from_json(network_to_json(network), "n.json").summary(), network.summary());
    return network.layers()[1].output;
  };
  EXPECT_EQ(padded("\"valid\""), (Shape{1, 6, 6, 4}));
  EXPECT_EQ(padded("\"same\""), (Shape{1, 8, 8, 4}));
  EXPECT_EQ(padded("1"), (Shape{1, 8, 8, 4}));
  EXPECT_EQ(padded("[2, 0]"), (Shape{1, 10, 6, 4}));
  EXPECT_EQ(padded("[[0, 1], [2, 1]]"), (Shape{1, 7, 9, 4}));
  EXPECT_TRUE(contains(test::error_of([&] { padded("[[0, 1], 2, 1]"); }),
                       "m.json:5: layers[1].padding: key 'padding' is [[0,1],2,1], expected \"valid\", \"same\" or"));
  EXPECT_TRUE(contains(test::error_of([&] { padded("3"); }), "expected less than the window 3x3"));
  EXPECT_TRUE(contains(test::error_of([&] { padded("\"sane\""); }), "expected \"valid\", \"same\" or pixels"));
}

TEST(NetworkJson, InputsAreAListOfLayersThatAllTakePart) {
  const auto error = [](const std::string& inputs) {
    return test::error_of([&] {
      network_from_json(with(good, "{\"type\": \"Flatten\"}", "{\"type\": \"Flatten\", \"inputs\": " + inputs + "}"),
                        "m.json");
    });
  };
  EXPECT_EQ(error("[\"c\"]"), "");
  for (const char* wrong : {"\"c\"", "3", "{}"})
    EXPECT_TRUE(contains(error(wrong), "m.json:6: layers[2].inputs: expected a list")) << error(wrong);
  EXPECT_TRUE(contains(error("[]"), "m.json:5: layers[1]: no layer takes its output")) << error("[]");
  EXPECT_TRUE(contains(error("[\"c\", \"c\"]"), "m.json:6: layers[2]: layer 'flatten': got 2 inputs, expected 1"));
}

TEST(Network, LayersOfOneInputRefuseOthers) {
  const Symbol x = Input({8, 8, 2});
  const auto refusal = [&](const auto& layer) {
    return test::error_of([&] {
             Network("n", layer({x, x}));
           }) +
           test::error_of([&] { Network("n", layer(std::vector<Symbol>{})); });
  };
  for (const std::string& text :
       {refusal(ReLU()), refusal(Softmax()), refusal(Dropout(0.5F)), refusal(BatchNormalization()), refusal(Flatten()),
        refusal(Conv2D(2, {3, 3})), refusal(Dense(2)), refusal(MaxPooling2D()), refusal(GlobalAveragePooling2D())})
    EXPECT_TRUE(contains(text, "got 2 inputs, expected 1") && contains(text, "Input layers")) << text;
}

TEST(Initializer, DrawsByVariableAndElementAlone) {
  std::vector<float> whole(1000), again(1000), other(1000), part(100);
  glorot_uniform(30, 70).fill(whole, 1, 2);
  glorot_uniform(30, 70).fill(again, 1, 2);
  glorot_uniform(30, 70).fill(other, 1, 3);
  glorot_uniform(30, 70).fill(part, 1, 2);
  EXPECT_EQ(whole, again);
  EXPECT_NE(whole, other);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin()));
  const float limit = std::sqrt(6.0F / 100);
  const auto [least, most] = std::ranges::minmax(whole);
  EXPECT_GE(least, -limit);
  EXPECT_LE(most, limit);
  EXPECT_GT(most, 0.95F * limit);
}

size_t count(const Graph& graph, std::string_view name) {
  return static_cast<size_t>(std::ranges::count(graph.nodes(), name, [](const Node& n) { return n.op->name(); }));
}

TEST(Fuse, JoinsWhatOneKernelDoes) {
  Built lenet = lenet5({28, 28, 1}, 10).build(8, 1, true);
  fuse(lenet.graph, std::vector<Value>{lenet.output});
  EXPECT_EQ(count(lenet.graph, "relu"), 0U);  // two went into pools, two into dense
  Built resnet = resnet18({32, 32, 3}, 10).build(8, 1, true);
  const size_t before = resnet.graph.nodes().size();
  fuse(resnet.graph, std::vector<Value>{resnet.output});
  EXPECT_EQ(count(resnet.graph, "relu"), 0U);
  EXPECT_EQ(count(resnet.graph, "add"), 0U);
  EXPECT_LT(resnet.graph.nodes().size(), before);
}

TEST(Fuse, LeavesAValueAloneThatSomebodyElseReads) {
  const Symbol x = Conv2D(4, {3, 3})(Input({8, 8, 1}));
  Built built = Network("n", Flatten()(Add()({x, ReLU()(x)}))).build(8, 1, true);
  fuse(built.graph, std::vector<Value>{built.output});
  EXPECT_EQ(count(built.graph, "relu"), 1U);
}

}  // namespace
}  // namespace lockstep
