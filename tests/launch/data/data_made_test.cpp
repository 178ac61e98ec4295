#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/error.h"
#include "launch/data/image/resample.h"
#include "launch/data/readers/open.h"
#include "launch/data/resize.h"
#include "tests/launch/data/sample.h"
#include "tests/support/errors.h"

namespace lockstep {
namespace {

using test::error_of;
using test::says;
using testing::image;
using testing::label;

// ---------------------------------------------------------------------------------------------- synthetic

TEST(Synthetic, HasTheSizesAsked) {
  const Data data = open_data("synthetic:12x10x3/5/40/7");
  EXPECT_EQ(data.train->size(), 40);
  EXPECT_EQ(data.test->size(), 7);
  EXPECT_EQ(data.train->image_shape(), (Shape{12, 10, 3}));
  EXPECT_EQ(data.train->classes(), 5);
  EXPECT_EQ(open_data("synthetic:1x1x1/2/40").test->size(), 8);
  EXPECT_EQ(open_data("synthetic:1x1x1/2/1").test->size(), 1);
}

TEST(Synthetic, IsAFunctionOfTheIndexWithinTheUnitInterval) {
  const Data a = open_data("synthetic:12x10x3/5/40/7");
  const Data b = open_data("synthetic:12x10x3/5/40/7");
  double least = 1;
  double most = 0;
  for (int64_t i = 39; i >= 0; --i) {
    EXPECT_EQ(image(*a.train, i), image(*b.train, i));
    EXPECT_EQ(label(*a.train, i), i % 5);
    for (float x : image(*a.train, i)) {
      least = std::min<double>(least, x);
      most = std::max<double>(most, x);
    }
  }
  EXPECT_GE(least, 0);
  EXPECT_LE(most, 1);
  EXPECT_NE(image(*a.train, 0), image(*a.train, 5)) << "two samples of one class are the same";
  EXPECT_NE(image(*a.train, 0), image(*a.test, 0)) << "the test set repeats the training set";
  EXPECT_NE(a.train->content_sha256(), a.test->content_sha256());
  EXPECT_NE(a.train->content_sha256(), open_data("synthetic:12x10x3/5/41/7").train->content_sha256());
}

/// The share of test images that lie nearest to the mean training image of their own class.
double nearest_mean_accuracy(const Data& data, bool shuffled_labels) {
  const auto floats = static_cast<size_t>(data.train->image_shape().elements());
  const auto classes = static_cast<size_t>(data.train->classes());
  std::vector<std::vector<double>> means(classes, std::vector<double>(floats));
  for (int64_t i = 0; i < data.train->size(); ++i) {
    const auto of = shuffled_labels ? static_cast<size_t>(i / 7) % classes : static_cast<size_t>(label(*data.train, i));
    const auto x = image(*data.train, i);
    for (size_t k = 0; k < floats; ++k)
      means[of][k] += x[k] * static_cast<double>(classes) / static_cast<double>(data.train->size());
  }
  int right = 0;
  for (int64_t i = 0; i < data.test->size(); ++i) {
    const auto x = image(*data.test, i);
    std::vector<double> distances(classes);
    for (size_t c = 0; c < classes; ++c)
      for (size_t k = 0; k < floats; ++k) distances[c] += (x[k] - means[c][k]) * (x[k] - means[c][k]);
    right += std::min_element(distances.begin(), distances.end()) - distances.begin() == label(*data.test, i);
  }
  return static_cast<double>(right) / static_cast<double>(data.test->size());
}

TEST(Synthetic, CanBeLearned) {
  const Data data = open_data("synthetic:16x16x3/10/400/200");
  EXPECT_GE(nearest_mean_accuracy(data, false), 0.95);
  EXPECT_FALSE(nearest_mean_accuracy(data, true) >= 0.95) << "any labels do: the test tests nothing";
}

TEST(Synthetic, AMalformedSpecIsToldWithTheForm) {
  for (const char* spec : {"",
                           "8",
                           "8x8",
                           "8x8x",
                           "8x8x1",
                           "8x8x1/",
                           "8x8x1/10",
                           "8x8x1/10/",
                           "8x8x1/10/0",
                           "0x8x1/10/5",
                           "-8x8x1/10/5",
                           "8x8x1/10/5/",
                           "8x8x1/10/5/0",
                           "8x8x1/10/5/5/5",
                           "8x8x1/10/5 ",
                           "8X8x1/10/5",
                           "8x8x1/99999999/5",
                           "99999999999999999999x8x1/10/5",
                           "65536x65536x4096/10/5",
                           "65000x65000x1/1/1"})
    EXPECT_TRUE(says(error_of([&] { open_data(std::string("synthetic:") + spec); }),
                     {std::string("'synthetic:") + spec + "'", "HxWxC/CLASSES/COUNT"}))
        << spec;
}

// ---------------------------------------------------------------------------------------------- resize

/// One image with given values.
class OneImage final : public Dataset {
 public:
  OneImage(Shape shape, std::vector<float> values) : shape_(shape), values_(std::move(values)) {}
  int64_t size() const override { return 1; }
  Shape image_shape() const override { return shape_; }
  int classes() const override { return 4; }
  int32_t read(int64_t, std::span<float> out) const override {
    std::copy(values_.begin(), values_.end(), out.begin());
    return 3;
  }
  std::string content_sha256() const override { return "inner"; }

 private:
  Shape shape_;
  std::vector<float> values_;
};

TEST(Resize, DoublesAsPyTorchDoes) {
  // The example in PyTorch's documentation of nn.Upsample(scale_factor=2, mode='bilinear'): [[1, 2], [3, 4]].
  const auto big = resized(std::make_shared<OneImage>(Shape{2, 2, 1}, std::vector<float>{1, 2, 3, 4}), {4, 4});
  EXPECT_EQ(big->image_shape(), (Shape{4, 4, 1}));
  EXPECT_EQ(image(*big, 0),
            (std::vector<float>{1, 1.25, 1.75, 2, 1.5, 1.75, 2.25, 2.5, 2.5, 2.75, 3.25, 3.5, 3, 3.25, 3.75, 4}));
  EXPECT_EQ(label(*big, 0), 3);
  EXPECT_EQ(big->classes(), 4);
}

/// The weight of input row `k` of `in` in output row `i`, of a part of `length` from `begin` on that becomes `out`
/// rows: the triangle, no narrower than two pixels, in double.
double triangle(int64_t k, int64_t in, double begin, double length, int64_t out, int64_t i) {
  const double reach = std::max(1.0, length / static_cast<double>(out));
  const double centre = begin + (static_cast<double>(i) + 0.5) * length / static_cast<double>(out);
  const auto at = [&](int64_t row) {
    return std::max(0.0, 1 - std::abs(static_cast<double>(row) + 0.5 - centre) / reach);
  };
  double sum = 0;
  for (int64_t row = 0; row < in; ++row) sum += at(row);
  return at(k) / sum;
}

/// One value in double.
double reference(const std::vector<float>& in, const Shape& shape, const Fit& fit, int64_t y, int64_t x, int64_t c) {
  const Crop part = fit.part(shape[0], shape[1]);
  double sum = 0;
  for (int64_t row = 0; row < shape[0]; ++row)
    for (int64_t column = 0; column < shape[1]; ++column)
      sum += triangle(row, shape[0], part.top, part.height, fit.height, y) *
             triangle(column, shape[1], part.left, part.width, fit.width, x) *
             static_cast<double>(in[static_cast<size_t>((row * shape[1] + column) * shape[2] + c)]);
  return sum;
}

TEST(Resize, FollowsTheFormulaUpAndDown) {
  const Data data = open_data("synthetic:7x5x3/4/8");
  const auto in = image(*data.train, 2);
  const auto middle = Fit::How::middle;
  for (const Fit& fit : {Fit{32, 32},
                         {3, 2},
                         {1, 1},
                         {7, 11},
                         {20, 5},
                         {8, 3},
                         {5, 4},
                         {4, 4, 0, middle},
                         {3, 3, 4, middle},
                         {9, 2, 0, middle},
                         {12, 12, 13, middle}}) {
    const auto set = resized(data.train, fit);
    const Shape shape = set->image_shape();
    ASSERT_EQ(shape, (Shape{fit.height, fit.width, 3}));
    const auto out = image(*set, 2);
    double worst = 0;
    for (int64_t y = 0, i = 0; y < fit.height; ++y)
      for (int64_t x = 0; x < fit.width; ++x)
        for (int64_t c = 0; c < 3; ++c, ++i)
          worst = std::max(worst, std::abs(out[static_cast<size_t>(i)] - reference(in, {7, 5, 3}, fit, y, x, c)));
    // Values up to 1 whose weights carry a few roundings of coordinates up to 7.
    EXPECT_TRUE(worst <= 2e-6) << shape.str() << ": " << worst;
  }
}

TEST(Resize, OfTheSameSizeIsTheSetItself) {
  const Data data = open_data("digits");
  EXPECT_EQ(resized(data.train, {8, 8}), data.train);
  EXPECT_NE(resized(data.train, {8, 9})->content_sha256(), data.train->content_sha256());
  EXPECT_NE(resized(data.train, {8, 9})->content_sha256(), resized(data.train, {9, 8})->content_sha256());
}

TEST(Resize, ShrinksAsImageFilesDo) {
  // Bytes as floats, and as Pillow's integers: apart by the rounding of two passes.
  const Data data = open_data("synthetic:37x29x3/4/3");
  for (const Fit& fit : {Fit{11, 7}, {36, 5}, {8, 8, 9, Fit::How::middle}}) {
    Image bytes{37, 29, 3, {}};
    for (const float value : image(*data.train, 1))
      bytes.pixels.push_back(static_cast<uint8_t>(std::lround(value * 255)));
    std::vector<float> floats(bytes.pixels.size());
    for (size_t i = 0; i < floats.size(); ++i) floats[i] = static_cast<float>(bytes.pixels[i]) / 255.0F;
    std::vector<uint8_t> expected(static_cast<size_t>(fit.height * fit.width * 3));
    std::vector<float> found(expected.size());
    resample(bytes, fit.part(37, 29), fit.height, fit.width, expected);
    resize_image(floats, {37, 29, 3}, fit, found);
    double worst = 0;
    for (size_t i = 0; i < found.size(); ++i) worst = std::max(worst, std::abs(255.0 * found[i] - expected[i]));
    EXPECT_TRUE(worst <= 1) << fit.str() << ": " << worst;
  }
}

TEST(Resize, ADescriptionIsReadBackAsWritten) {
  const Preparation preparation{28, 30, 1, {{32, 32, 40, Fit::How::middle}, {28, 30}}};
  EXPECT_EQ(preparation_from_json(to_json(preparation), "x"), preparation);
  for (const auto& [key, value, says_so] :
       {std::tuple<std::string, nlohmann::ordered_json, std::string>{"height", 0, "'height' is 0"},
        {"channels", "3", "'channels'"},
        {"height", 27, "its last fit is stretch 28x30"},
        {"fits", {{{"how", "streich"}, {"height", 28}, {"width", 30}, {"shorter", 0}}}, "did you mean 'stretch'"},
        {"fits", {{{"how", "stretch"}}}, "height"}}) {
    auto json = to_json(preparation);
    json[key] = value;
    EXPECT_TRUE(says(error_of([&] { preparation_from_json(json, "where"); }), {"where", says_so})) << json.dump();
  }
}

TEST(Resize, ReadsSizes) {
  EXPECT_EQ(parse_fit("32", Fit::How::stretch), (Fit{32, 32}));
  EXPECT_EQ(parse_fit("32x48", Fit::How::middle), (Fit{32, 48, 0, Fit::How::middle}));
  EXPECT_EQ(parse_fit("32:40", Fit::How::stretch), (Fit{32, 32, 40, Fit::How::middle}));
  EXPECT_EQ(parse_size("32"), (std::array<int64_t, 2>{32, 32}));
  EXPECT_EQ(parse_size("32x48"), (std::array<int64_t, 2>{32, 48}));
  for (const char* text : {"", "x", "0", "-3", "32x", "32x0", "x32", "32x48x3", "32 ", "1e3", "99999"})
    EXPECT_TRUE(says(error_of([&] { parse_size(text); }), {std::string("'") + text + "'", "HEIGHTxWIDTH"}));
}

// ---------------------------------------------------------------------------------------------- normalisation

TEST(Normalise, MeasuresEachChannel) {
  const OneImage data(Shape{2, 2, 2}, {0, 0.5, 1, 0.5, 0, 0.5, 1, 0.5});
  const Normalisation measured = measure(data);
  EXPECT_EQ(measured.mean, (std::vector<float>{0.5, 0.5}));
  EXPECT_EQ(measured.std, (std::vector<float>{0.5, 1})) << "the second channel is constant";
}

TEST(Normalise, GivesMeanZeroAndVarianceOne) {
  const PreparedData prepared = prepare_data("digits", {.resize = "16x12"});
  EXPECT_EQ(prepared.data.train->image_shape(), (Shape{16, 12, 1}));
  EXPECT_EQ(prepared.data.test->image_shape(), (Shape{16, 12, 1}));
  ASSERT_TRUE(prepared.normalisation);
  const Normalisation after = measure(*prepared.data.train);
  EXPECT_NEAR(after.mean.at(0), 0, 1e-6);
  EXPECT_NEAR(after.std.at(0), 1, 1e-6);
  // The test set is shifted by what was measured on the training set, not by its own mean.
  EXPECT_GT(std::abs(measure(*prepared.data.test).mean.at(0)), 1e-4);
  EXPECT_EQ(prepared.normalisation->mean, measure(*resized(open_data("digits").train, {16, 12})).mean);
}

TEST(Normalise, TakesWhatIsGiven) {
  const PreparedData given = prepare_data("synthetic:4x4x3/2/10", {.normalise = "0.1,0.2,0.3/0.5,0.25,2"});
  const auto before = image(*open_data("synthetic:4x4x3/2/10").train, 3);
  const auto after = image(*given.data.train, 3);
  const float mean[] = {0.1F, 0.2F, 0.3F};
  const float std[] = {0.5F, 0.25F, 2};
  for (size_t i = 0; i < before.size(); ++i) EXPECT_EQ(after[i], (before[i] - mean[i % 3]) / std[i % 3]);
  const PreparedData none = prepare_data("synthetic:4x4x3/2/10", {.normalise = "none"});
  EXPECT_FALSE(none.normalisation);
  EXPECT_EQ(image(*none.data.train, 3), before);
  EXPECT_NE(none.data.train->content_sha256(), given.data.train->content_sha256());
  for (const char* text : {"", "auto ", "0.1", "0.1/0.2", "0.1,0.2,0.3/0.5,0.25", "0,0,0/1,1,0", "0,0,0/1,1,-1",
                           "nan,0,0/1,1,1", "0,0,0/1,1,inf", "0,0,0/1,1,1x", "0,,0/1,1,1", "/"})
    EXPECT_TRUE(says(error_of([&] { prepare_data("synthetic:4x4x3/2/10", {.normalise = text}); }),
                     {"normalisation '" + std::string(text) + "'", "MEAN/STD with 3 comma-separated numbers"}))
        << text;
}

}  // namespace
}  // namespace lockstep
