// The way of a pixel from a file to the network: against what Pillow makes of the same files (golden/make_pixels.py),
// and the same on every way, of files drawn by seed. LOCKSTEP_TEST_PIXELS is how many sets are drawn.
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "launch/data/feed/feed.h"
#include "launch/data/image/image_files.h"
#include "launch/data/image/packed.h"
#include "launch/data/readers/open.h"
#include "tests/launch/data/drawn_files.h"
#include "tests/launch/data/golden_files.h"
#include "tests/launch/data/sample.h"
#include "tests/support/temporary_folder.h"

namespace lockstep {
namespace {

using testing::from_base64;

struct Errors {
  double mean = 0, worst = 0;  // in levels of 255
};

Errors errors(const std::vector<float>& image, const std::vector<uint8_t>& expected) {
  Errors found;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double error = std::abs(std::round(255.0 * image[i]) - expected[i]);  // bytes, both
    found.mean += error / static_cast<double>(expected.size());
    if (!(error <= found.worst)) found.worst = error;
  }
  return found;
}

TEST(Pixels, AreThoseOfPillow) {
  const testing::TemporaryFolder folder;
  const std::string path = (folder.path() / "image").string();
  const nlohmann::json all = test::golden_json("pixels.json")["cases"];
  // Pillow's decoder and ours are both libjpeg-turbo; a whole image differs where the passes of a turned image come in
  // the other order. A reduced one is made of the lower frequencies of each block, which is another filter.
  const std::map<int, Errors> bounds{{1, {0.5, 1}}, {2, {2, 8}}, {4, {3, 14}}, {8, {8, 32}}};
  std::map<int, Errors> worst;
  int64_t turned = 0;
  for (const auto& one : all) {
    const auto file = from_base64(one["file"]);
    testing::write_file(path, {reinterpret_cast<const char*>(file.data()), file.size()});
    const ImageReading reading{.fit = {one["height"], one["width"], one["shorter"], Fit::How::middle},
                               .channels = one["channels"]};
    const auto set = open_image_files({path}, 1, reading);
    const Errors found = errors(testing::image(*set, 0), from_base64(one["pixels"]));
    const int reduced = one["reduced"];
    EXPECT_TRUE(found.mean <= bounds.at(reduced).mean && found.worst <= bounds.at(reduced).worst)
        << one["what"] << ", " << turned << ", reduced by " << reduced << ": mean " << found.mean << ", worst "
        << found.worst;
    worst[reduced].mean = std::max(worst[reduced].mean, found.mean);
    worst[reduced].worst = std::max(worst[reduced].worst, found.worst);
    ++turned;
  }
  for (const auto& [reduced, errors] : worst)
    std::printf("reduced by %d: mean error up to %.3f, worst %.2f levels\n", reduced, errors.mean, errors.worst);
}

// ---------------------------------------------------------------------------------------------- every way

using Images = std::vector<std::vector<float>>;

Images images_of(const Dataset& set) {
  Images all;
  for (int64_t i = 0; i < set.size(); ++i) all.push_back(testing::image(set, i));
  return all;
}

/// As a rank gets them, in batches of three.
Images fed(const std::shared_ptr<const Dataset>& set, int workers) {
  const auto floats = static_cast<size_t>(set->image_shape().elements());
  BatchFeed feed(set, {.batch = 3, .steps = (set->size() + 2) / 3, .workers = workers});
  Images all;
  while (static_cast<int64_t>(all.size()) < set->size()) {
    const Batch& batch = feed.next();
    for (int64_t i = 0; i < batch.samples; ++i) {
      const float* const begin = batch.images.data() + static_cast<size_t>(i) * floats;
      all.emplace_back(begin, begin + floats);
    }
  }
  return all;
}

/// Two classes of three files; all of one size where `alike`.
class Drawn {
 public:
  Drawn(uint64_t seed, bool alike) : draw(seed) {
    const int side = draw.pick(11, 60), other = draw.pick(11, 60);
    for (int i = 0; i < 6; ++i) {
      const int orientation = draw.pick(0, 8);
      int height = alike ? side : draw.pick(3, 70), width = alike ? other : draw.pick(3, 70);
      if (orientation >= 5) std::swap(height, width);
      const bool jpeg = draw.coin();
      const int channels = jpeg ? std::array{1, 3, 3, 4}[static_cast<size_t>(draw.pick(0, 3))] : draw.pick(1, 4);
      const auto drawing = draw.picture(height, width, channels);
      plain.push_back(jpeg ? draw.jpeg(drawing) : draw.png(drawing));
      orientations.push_back(orientation);
      const auto file = orientation > 0 ? draw.oriented(plain.back(), orientation) : plain.back();
      const std::string name = std::string(i < 3 ? "in/a/" : "in/b/") + std::to_string(i) + (jpeg ? ".jpg" : ".png");
      paths.push_back(path(name));
      std::filesystem::create_directories(std::filesystem::path(paths.back()).parent_path());
      testing::write_file(paths.back(), {reinterpret_cast<const char*>(file.data()), file.size()});
    }
  }
  std::string path(const std::string& name) const { return (folder_.path() / name).string(); }
  std::string images() const { return "images:" + path("in"); }

  testing::Draw draw;
  std::vector<std::string> paths;
  std::vector<testing::Bytes> plain;  // without their orientation
  std::vector<int> orientations;

 private:
  testing::TemporaryFolder folder_;
};

uint64_t sets() {
  const char* given = std::getenv("LOCKSTEP_TEST_PIXELS");
  return given ? std::stoull(given) : 12;
}

/// A description as it comes back from a manifest or a packed file.
Preparation kept(const Preparation& preparation) {
  return preparation_from_json(nlohmann::ordered_json::parse(to_json(preparation).dump()), "kept");
}

TEST(Pixels, OfImageFilesAreTheSameOnEveryWay) {
  for (uint64_t seed = 0; seed < sets(); ++seed) {
    Drawn files(seed, seed % 4 == 0);
    const std::string resize = std::array{"9", "7x12", "8:10", "40x33", "5x3", "6:20"}[static_cast<size_t>(seed % 6)];
    const std::string pack = files.path("pack"), where = "seed " + std::to_string(seed) + ", --resize " + resize;
    const DataOptions as{.resize = resize, .normalise = "none", .channels = files.draw.coin() ? 3 : 1};
    const PreparedData trained = prepare_data(files.images(), as);
    const Images expected = fed(trained.data.train, 1);
    EXPECT_EQ(fed(trained.data.train, 3), expected) << where;
    DataOptions evaluated = as;
    evaluated.resize.clear();
    evaluated.preparation = kept(trained.preparation);
    EXPECT_EQ(images_of(*prepare_data(files.images(), evaluated).data.train), expected) << where << ": evaluate";
    EXPECT_EQ(images_of(*prepare_files(files.paths, 2, evaluated).data.train), expected) << where << ": predict";
    DataOptions cached = as;
    cached.cache = true;
    const auto cache = prepare_data(files.images(), cached).data.train;
    for (int epoch = 0; epoch < 2; ++epoch) EXPECT_EQ(images_of(*cache), expected) << where << ": cache";
    DataOptions skipping = as;
    skipping.on_corrupt = "skip";
    EXPECT_EQ(images_of(*prepare_data(files.images(), skipping).data.train), expected) << where << ": skip";
    write_packed(trained.data, pack, false, 2);
    const PreparedData packed = prepare_data("packed:" + pack, {.normalise = "none"});
    EXPECT_EQ(images_of(*packed.data.train), expected) << where << ": pack";
    evaluated.preparation = kept(packed.preparation);
    EXPECT_EQ(images_of(*prepare_files(files.paths, 2, evaluated).data.train), expected)
        << where << ": predict, packed";
    write_packed(open_data(files.images(), {.channels = as.channels, .keep_files = true}), pack, true, 1);
    EXPECT_EQ(images_of(*prepare_data("packed:" + pack, as).data.train), expected) << where << ": packed files";
    EXPECT_EQ(images_of(*prepare_data("packed:" + pack, evaluated).data.train), expected) << where << ": evaluate";
    // Negative control: a description of another size.
    evaluated.preparation = Preparation{3, 3, as.channels, {{3, 3, 0, Fit::How::middle}}};
    EXPECT_NE(images_of(*prepare_files(files.paths, 2, evaluated).data.train), expected) << where;
  }
}

TEST(Pixels, OfArraysAreTheSameOnEveryWay) {
  for (uint64_t seed = 0; seed < sets(); ++seed) {
    Drawn files(1000 + seed, true);
    const int channels = files.draw.coin() ? 3 : 1;
    const std::string pack = files.path("pack"), again = files.path("again");
    const std::string resize = std::array{"", "9", "70x8", "8:10", "5x3"}[static_cast<size_t>(seed % 5)];
    const std::string where = "seed " + std::to_string(seed) + ", --resize " + resize;
    // At their own size, so that the pack is an array of what was decoded.
    write_packed(open_data(files.images(), {.channels = channels}), pack, false, 1);
    const PreparedData trained = prepare_data("packed:" + pack, {.resize = resize, .normalise = "none"});
    const Images expected = fed(trained.data.train, 2);
    const DataOptions as{.normalise = "none", .channels = channels, .preparation = kept(trained.preparation)};
    EXPECT_EQ(images_of(*prepare_files(files.paths, 2, as).data.train), expected) << where << ": predict";
    EXPECT_EQ(images_of(*prepare_data(files.images(), as).data.train), expected) << where << ": evaluate";
    EXPECT_EQ(images_of(*prepare_data("packed:" + pack, as).data.train), expected) << where << ": evaluate, packed";
    write_packed(trained.data, again, false, 3);
    EXPECT_EQ(images_of(*open_data("packed:" + again).train), expected) << where << ": packed once more";
    EXPECT_EQ(images_of(*prepare_data("packed:" + again, as).data.train), expected) << where << ": and evaluated";
  }
}

/// A stored image [H, W, C] turned upright, by EXIF's table.
std::vector<float> turned(const std::vector<float>& stored, int64_t height, int64_t width, int64_t channels,
                          int orientation) {
  const int64_t rows = orientation >= 5 ? width : height, columns = orientation >= 5 ? height : width;
  std::vector<float> result;
  for (int64_t y = 0; y < rows; ++y)
    for (int64_t x = 0; x < columns; ++x) {
      const std::array<std::pair<int64_t, int64_t>, 9> from{{{y, x},
                                                             {y, x},
                                                             {y, width - 1 - x},
                                                             {height - 1 - y, width - 1 - x},
                                                             {height - 1 - y, x},
                                                             {x, y},
                                                             {height - 1 - x, y},
                                                             {height - 1 - x, width - 1 - y},
                                                             {x, width - 1 - y}}};
      const auto [row, column] = from[static_cast<size_t>(orientation)];
      for (int64_t c = 0; c < channels; ++c)
        result.push_back(stored[static_cast<size_t>((row * width + column) * channels + c)]);
    }
  return result;
}

TEST(Pixels, OfATurnedFileAreThoseOfTheUprightOneTurned) {
  double worst = 0;
  for (uint64_t seed = 0; seed < sets(); ++seed) {
    const Drawn files(2000 + seed, false);
    for (size_t i = 0; i < files.paths.size(); ++i) {
      const int orientation = files.orientations[i];
      const bool sideways = orientation >= 5;
      const std::string upright = files.path("upright");
      testing::write_file(upright, {reinterpret_cast<const char*>(files.plain[i].data()), files.plain[i].size()});
      for (const Fit& fit :
           {Fit{5, 7, 0, Fit::How::middle}, {6, 6, 8, Fit::How::middle}, {9, 4, 0, Fit::How::middle}}) {
        Fit stored = fit;
        if (sideways) std::swap(stored.height, stored.width);
        const auto plain = testing::image(*open_image_files({upright}, 1, {.fit = stored}), 0);
        const auto expected = turned(plain, stored.height, stored.width, 3, orientation);
        const auto found = testing::image(*open_image_files({files.paths[i]}, 1, {.fit = fit}), 0);
        // The passes over rows and columns come in the other order: each rounds to a level.
        for (size_t k = 0; k < expected.size(); ++k)
          if (const double error = 255.0 * std::abs(expected[k] - found[k]); !(error <= worst)) worst = error;
        ASSERT_LE(worst, 1.001) << "seed " << seed << ", " << files.paths[i] << ", orientation " << orientation << ", "
                                << fit.str();
      }
    }
  }
}

}  // namespace
}  // namespace lockstep
