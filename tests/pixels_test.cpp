// The way of a pixel from a file to the network: against what Pillow makes of the same files (golden/make_pixels.py).
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "launch/data/image_files.h"
#include "tests/golden_files.h"
#include "tests/sample.h"
#include "tests/temporary_folder.h"

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
  const nlohmann::json all =
      nlohmann::json::parse(std::ifstream(LOCKSTEP_SOURCE_DIR "/tests/golden/pixels.json"))["cases"];
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

}  // namespace
}  // namespace lockstep
