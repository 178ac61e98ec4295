#include "launch/data/image/image_folder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <set>

#include "launch/data/feed/feed.h"
#include "launch/data/readers/info.h"
#include "launch/data/readers/open.h"
#include "launch/data/subset.h"
#include "tests/launch/data/golden_files.h"
#include "tests/launch/data/sample.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

namespace lockstep {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::says;
using testing::golden_text;
using testing::image;
using testing::label;
using testing::real_data;

/// Two classes of three images each in a temporary folder.
class ImageFolder : public ::testing::Test {
 protected:
  ImageFolder() {
    for (const char* name : {"ants", "bees"}) fs::create_directory(path(name));
    put("ants/b.png", "png_rgb");
    put("ants/a.JPG", "jpeg_420");
    put("ants/c.jpeg", "jpeg_grey");
    put("bees/1.jpg", "jpeg_exif_6");
    put("bees/2.png", "png_alpha");
    put("bees/3.jpg", "jpeg_cmyk");
  }
  fs::path path(const std::string& name) const { return folder_.path() / name; }
  void put(const std::string& name, const std::string& golden) const {
    testing::write_file(path(name), golden_text(golden));
  }
  std::string spec() const { return "images:" + folder_.path().string(); }
  Data open(DataOptions options = {.resize = "16"}) const { return open_data(spec(), options); }
  std::string refused(const DataOptions& options) const {
    return error_of([&] { open_data(spec(), options); });
  }

 private:
  testing::TemporaryFolder folder_;
};

TEST_F(ImageFolder, IsReadByClassAndName) {
  const Data data = open();
  EXPECT_EQ(data.class_names, (std::vector<std::string>{"ants", "bees"}));
  EXPECT_EQ(data.train->size(), 6);
  EXPECT_EQ(data.train->classes(), 2);
  EXPECT_EQ(data.train->image_shape(), (Shape{16, 16, 3}));
  EXPECT_EQ(data.test, nullptr);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(label(*data.train, i), i / 3);
  // The same picture twice, once as JPEG: alike to within its losses.
  const auto jpeg = image(*data.train, 0), png = image(*data.train, 1);
  double worst = 0;
  for (size_t i = 0; i < jpeg.size(); ++i) worst = std::max<double>(worst, std::abs(jpeg[i] - png[i]));
  EXPECT_TRUE(worst <= 0.1) << worst;
  EXPECT_NE(jpeg, png);
  const Data grey = open({.resize = "16x8", .channels = 1});
  EXPECT_EQ(grey.train->image_shape(), (Shape{16, 8, 1}));
}

TEST_F(ImageFolder, TrainAndValidationFoldersAreSets) {
  fs::create_directory(path("train"));
  fs::create_directory(path("val"));
  fs::rename(path("ants"), path("train/ants"));
  fs::rename(path("bees"), path("train/bees"));
  fs::create_directory(path("val/bees"));
  put("val/bees/9.png", "png_rgb");
  const Data data = open();
  EXPECT_EQ(data.train->size(), 6);
  EXPECT_EQ(data.validation->size(), 1);
  EXPECT_EQ(label(*data.validation, 0), 1);
  EXPECT_TRUE(says(error_of([&] { prepare_data(spec(), {.resize = "16", .validation_split = 0.5F}); }),
                   {"has a validation set"}));
  fs::create_directory(path("val/cats"));
  put("val/cats/9.png", "png_rgb");
  EXPECT_TRUE(says(refused({.resize = "16"}), {"val", "'cats'"}));
}

TEST_F(ImageFolder, ValidationHasSeveralNamesAndOtherFoldersAreToldOf) {
  for (const char* name : {"train", "valid", "eval"}) fs::create_directory(path(name));
  fs::rename(path("ants"), path("train/ants"));
  fs::rename(path("bees"), path("train/bees"));
  fs::create_directory(path("valid/bees"));
  put("valid/bees/9.png", "png_rgb");
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(open().validation->size(), 1);
  EXPECT_TRUE(says(::testing::internal::GetCapturedStderr(), {path("eval").string(), "is not read", "validation"}));
  fs::rename(path("valid"), path("validation"));
  fs::remove(path("eval"));
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(open().validation->size(), 1);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  fs::create_directory(path("val"));
  EXPECT_TRUE(says(refused({.resize = "16"}), {"'val' and 'validation'", "one folder"}));
}

TEST_F(ImageFolder, WithoutASizeAllMustBeAlike) {
  fs::remove(path("bees/1.jpg"));
  EXPECT_EQ(open({}).train->image_shape(), (Shape{29, 37, 3}));
  put("bees/1.jpg", "jpeg_exif_6");
  EXPECT_TRUE(says(refused({}), {"1.jpg' is 20x13", "29x37", "--resize"}));
}

TEST_F(ImageFolder, AnOrientationBehindThePixelsTurnsWhatIsRead) {
  for (const std::string size : {"16", "4x12", "6:9"}) {
    put("bees/2.png", "png_exif_6");
    const auto expected = image(*open({.resize = size}).train, 4);
    const auto late = testing::chunks_last(testing::golden_file("png_exif_6"), "eXIf");
    testing::write_file(path("bees/2.png"), {reinterpret_cast<const char*>(late.data()), late.size()});
    EXPECT_EQ(image(*open({.resize = size}).train, 4), expected) << size;
  }
  for (const char* name : {"ants/a.JPG", "ants/b.png", "ants/c.jpeg", "bees/1.jpg", "bees/3.jpg"})
    fs::remove(path(name));
  EXPECT_EQ(open({}).train->image_shape(), (Shape{20, 13, 3}));
}

TEST_F(ImageFolder, CorruptFilesAreNamed) {
  testing::write_file(path("bees/2.png"), golden_text("png_alpha").substr(0, 20));  // within the header
  EXPECT_TRUE(says(refused({.resize = "16"}), {"2.png: byte ", "--on-corrupt skip"}));
  EXPECT_TRUE(says(refused({.resize = "16", .on_corrupt = "skipp"}), {"'skipp'", "did you mean 'skip'"}));
  const Data skipped = open({.resize = "16", .on_corrupt = "skip"});
  EXPECT_EQ(skipped.train->size(), 5);

  // Damage after the header is found when the image is read.
  put("bees/2.png", "png_alpha");
  const std::string whole = golden_text("jpeg_exif_6");
  testing::write_file(path("bees/1.jpg"), whole.substr(0, whole.size() - 60));
  const Data stops = open();
  EXPECT_TRUE(says(error_of<CorruptImage>([&] { image(*stops.train, 3); }), {"1.jpg: byte "}));
  const Data skips = open({.resize = "16", .on_corrupt = "skip"});
  EXPECT_EQ(skips.train->size(), 5);
  for (int64_t i = 0; i < 5; ++i) {
    EXPECT_EQ(image(*skips.train, i), image(*stops.train, i < 3 ? i : i + 1)) << i;
    EXPECT_EQ(skips.train->key(i), stops.train->key(i < 3 ? i : i + 1)) << i;
    EXPECT_EQ(label(*skips.train, i), i / 3) << i;
  }
  EXPECT_EQ(dynamic_cast<const EncodedImages&>(*skips.train).corrupt().size(), 1U);
  EXPECT_NE(skips.train->content_sha256(), stops.train->content_sha256());
  fs::remove(path("bees/1.jpg"));
  EXPECT_EQ(open().train->content_sha256(), skips.train->content_sha256()) << "as if it were not there";
  for (const char* name : {"ants/a.JPG", "ants/b.png", "ants/c.jpeg", "bees/2.png", "bees/3.jpg"})
    fs::resize_file(path(name), fs::file_size(path(name)) - 30);
  EXPECT_TRUE(says(refused({.resize = "16", .on_corrupt = "skip"}), {"none of the", "can be decoded", ".JPG: byte"}));
}

TEST_F(ImageFolder, ACorruptFileIsOnNeitherSideOfASplit) {
  for (int i = 0; i < 30; ++i) {
    const std::string name = "ants/" + std::to_string(i) + (i % 2 == 0 ? ".jpg" : ".png");
    const std::string whole = golden_text(i % 2 == 0 ? "jpeg_420" : "png_rgb");
    testing::write_file(path(name), i % 3 == 0 ? whole.substr(0, whole.size() - 50) : whole);
  }
  for (const DataOptions& skip : {DataOptions{.resize = "16", .normalise = "none", .on_corrupt = "skip"},
                                  {.resize = "16", .normalise = "none", .on_corrupt = "skip", .cache = true}}) {
    DataOptions halves = skip;
    halves.validation_split = 0.4F;
    const PreparedData whole = prepare_data(spec(), skip), parts = prepare_data(spec(), halves);
    EXPECT_EQ(whole.data.train->size(), 26);
    std::set<uint64_t> training, held_out;
    for (int64_t i = 0; i < parts.data.train->size(); ++i) training.insert(parts.data.train->key(i));
    for (int64_t i = 0; i < parts.data.validation->size(); ++i) held_out.insert(parts.data.validation->key(i));
    EXPECT_EQ(training.size() + held_out.size(), 26U);
    for (const uint64_t key : held_out) EXPECT_FALSE(training.contains(key));
    // Each is itself, whichever set it is read from.
    std::map<uint64_t, std::vector<float>> images;
    for (int64_t i = 0; i < 26; ++i) images[whole.data.train->key(i)] = image(*whole.data.train, i);
    for (const auto& set : {parts.data.train, parts.data.validation})
      for (int64_t i = 0; i < set->size(); ++i) EXPECT_EQ(image(*set, i), images.at(set->key(i)));
  }
}

TEST_F(ImageFolder, WhatIsSkippedIsWhatCannotBeRead) {
  // Skipped files are found at an eighth of their size and without colours; at any other they must be corrupt as well.
  for (const std::string golden : {"jpeg_420", "jpeg_progressive", "jpeg_cmyk", "png_palette"}) {
    const std::string whole = golden_text(golden), name = golden.starts_with("png") ? "bees/x.png" : "bees/x.jpg";
    int skipped = 0;
    for (size_t at = 30; at < whole.size(); at += 1 + whole.size() / 60) {
      for (const bool cut : {true, false}) {
        std::string bad = cut ? whole.substr(0, at) : whole;
        if (!cut) bad[at] = static_cast<char>(bad[at] ^ 0xFF);
        testing::write_file(path(name), bad);
        const bool is_read = open({.resize = "16", .on_corrupt = "skip"}).train->size() == 7;
        skipped += !is_read;
        EXPECT_EQ(error_of([&] { image(*open().train, 6); }).empty(), is_read) << golden << " at " << at << cut;
      }
    }
    EXPECT_GE(skipped, 60) << golden;
    fs::remove(path(name));
  }
}

TEST_F(ImageFolder, WhatIsNoImageIsLeftOut) {
  testing::write_file(path("ants/imageNotFound.gif"), "GIF89a");
  testing::write_file(path("ants/.DS_Store"), "x");
  testing::write_file(path("README"), "x");
  EXPECT_EQ(open().train->size(), 6);
  fs::create_directory(path("empty"));
  EXPECT_EQ(open().train->classes(), 3);
  EXPECT_TRUE(
      says(error_of([&] { open_data("images:" + path("empty").string(), {.resize = "16"}); }), {"holds no images"}));
  EXPECT_TRUE(says(error_of([&] { open_data("images:/nowhere", {.resize = "16"}); }), {"'/nowhere'", "directory"}));
}

TEST_F(ImageFolder, KeptImagesAreTheSame) {
  testing::write_file(path("bees/1.jpg"), golden_text("jpeg_exif_6").substr(0, 900));
  const Data plain = open({.resize = "16", .on_corrupt = "skip"});
  const Data kept = open({.resize = "16", .on_corrupt = "skip", .cache = true});
  for (int round = 0; round < 3; ++round)
    for (int64_t i = 4; i >= 0; --i) {
      EXPECT_TRUE(image(*kept.train, i) == image(*plain.train, i)) << i;
      EXPECT_EQ(label(*kept.train, i), label(*plain.train, i)) << i;
    }
  // Without their files they are still there.
  for (const char* name : {"ants/a.JPG", "ants/b.png", "ants/c.jpeg", "bees/2.png", "bees/3.jpg"})
    fs::remove(path(name));
  EXPECT_TRUE(image(*kept.train, 1) == image(*kept.train, 1));
  EXPECT_TRUE(says(error_of([&] { image(*plain.train, 1); }), {"b.png", "No such file"}));
  EXPECT_EQ(kept.train->image_shape(), plain.train->image_shape());
}

TEST_F(ImageFolder, OptionsAreChecked) {
  EXPECT_TRUE(says(refused({.resize = "16:8"}), {"'16:8'", "one number from 16"}));
  EXPECT_TRUE(says(refused({.resize = "16:20x20"}), {"'16:20x20'"}));
  EXPECT_TRUE(says(refused({.resize = "16", .channels = 2}), {"--channels 2"}));
  EXPECT_EQ(open({.resize = "16:20"}).train->image_shape(), (Shape{16, 16, 3}));
  EXPECT_NE(image(*open({.resize = "16:20"}).train, 1), image(*open().train, 1));
}

TEST_F(ImageFolder, HashesSeeContentAndOrder) {
  const std::string before = open().train->content_sha256();
  EXPECT_EQ(open({.resize = "16", .workers = 3}).train->content_sha256(), before);
  EXPECT_NE(open({.resize = "17"}).train->content_sha256(), before);
  fs::rename(path("ants/c.jpeg"), path("ants/_.jpeg"));
  EXPECT_NE(open().train->content_sha256(), before);
  fs::rename(path("ants/_.jpeg"), path("ants/c.jpeg"));
  EXPECT_EQ(open().train->content_sha256(), before);
  std::string bytes = golden_text("png_alpha");
  bytes[bytes.size() - 20] ^= 1;
  testing::write_file(path("bees/2.png"), bytes);
  EXPECT_NE(open().train->content_sha256(), before);
}

TEST_F(ImageFolder, ASampleKeepsItsKeyAndItsSide) {
  const Data data = open();
  std::map<uint64_t, std::vector<float>> by_key;
  for (int64_t i = 0; i < 6; ++i) by_key[data.train->key(i)] = image(*data.train, i);
  EXPECT_EQ(by_key.size(), 6U);
  const auto sides = [&] {
    const Data now = open();
    std::map<uint64_t, bool> held_out;
    const Split parts = split(now.train, 0.5F, 3);
    for (int64_t i = 0; i < parts.rest->size(); ++i) held_out[parts.rest->key(i)] = false;
    for (int64_t i = 0; i < parts.held_out->size(); ++i) held_out[parts.held_out->key(i)] = true;
    return held_out;
  };
  const auto before = sides();
  EXPECT_EQ(before.size(), 6U);
  put("ants/0.png", "png_rgb");  // every sample's number changes
  const auto after = sides();
  EXPECT_EQ(after.size(), 7U);
  for (const auto& [key, side] : before) EXPECT_EQ(after.at(key), side);
  const Data now = open();
  for (int64_t i = 1; i < 7; ++i) EXPECT_EQ(image(*now.train, i), by_key.at(now.train->key(i)));
}

struct Fed {
  std::vector<std::vector<float>> images;
  std::vector<std::vector<int32_t>> labels;
  bool operator==(const Fed&) const = default;
};

/// The images and labels of seven steps, as one rank or more get them.
Fed fed(const std::shared_ptr<const Dataset>& data, int64_t ranks, int workers) {
  Fed all{std::vector<std::vector<float>>(7), std::vector<std::vector<int32_t>>(7)};
  for (int64_t rank = 0; rank < ranks; ++rank) {
    BatchFeed feed(data, {.batch = 4,
                          .lanes = 4,
                          .first_lane = rank * 4 / ranks,
                          .lane_count = 4 / ranks,
                          .shuffle = true,
                          .augmentation = {.crop = 2, .flip = true},
                          .seed = 7,
                          .steps = 7,
                          .workers = workers});
    for (size_t step = 0; step < 7; ++step) {
      const Batch& batch = feed.next();
      all.images[step].insert(all.images[step].end(), batch.images.begin(), batch.images.end());
      all.labels[step].insert(all.labels[step].end(), batch.labels.begin(), batch.labels.end());
    }
  }
  return all;
}

TEST_F(ImageFolder, TheBitsDoNotDependOnWorkersOrRanks) {
  testing::write_file(path("bees/1.jpg"), golden_text("jpeg_exif_6").substr(0, 900));  // skipped
  const auto data = open({.resize = "16", .on_corrupt = "skip"}).train;
  const auto one = fed(data, 1, 1);
  for (const int workers : {2, 5}) EXPECT_TRUE(fed(data, 1, workers) == one) << workers << " workers";
  for (const int64_t ranks : {2, 4}) EXPECT_TRUE(fed(data, ranks, 2) == one) << ranks << " ranks";
  EXPECT_FALSE(fed(open({.resize = "17"}).train, 1, 1) == one);
}

// ---------------------------------------------------------------------------------------------- real files

TEST(RealImages, AntsAndBees) {
  const fs::path folder = real_data("hymenoptera_data");
  if (!fs::exists(folder))
    GTEST_SKIP() << "no ants and bees in " << folder << "; LOCKSTEP_TEST_DATA may name its parent";
  const Data data = open_data("images:" + folder.string(), {.resize = "64"});
  EXPECT_EQ(data.class_names, (std::vector<std::string>{"ants", "bees"}));
  EXPECT_EQ(data.train->size(), 244);
  EXPECT_EQ(data.validation->size(), 153);
  int bees = 0;
  for (int64_t i = 0; i < data.validation->size(); ++i) bees += label(*data.validation, i);
  EXPECT_EQ(bees, 83);
}

/// Counts how often each file's bytes are asked for.
class Counted final : public ImageSource {
 public:
  explicit Counted(const ImageSource& inner) : reads(static_cast<size_t>(inner.size())), inner_(inner) {}
  int64_t size() const override { return inner_.size(); }
  std::span<const uint8_t> bytes(int64_t index, std::vector<uint8_t>& buffer) const override {
    ++reads[static_cast<size_t>(index)];
    return inner_.bytes(index, buffer);
  }
  std::string name(int64_t index) const override { return inner_.name(index); }
  int32_t label(int64_t index) const override { return inner_.label(index); }
  uint64_t key(int64_t index) const override { return inner_.key(index); }

  mutable std::vector<std::atomic<int>> reads;

 private:
  const ImageSource& inner_;
};

TEST_F(ImageFolder, IsLookedAtReadingEachFileOnce) {
  const Data data = open();
  const auto& files = dynamic_cast<const EncodedImages&>(*data.train);
  for (const bool hash_as_read : {true, false}) {
    const auto counted = std::make_shared<const Counted>(files.source());
    const EncodedImages set(counted, 2,
                            {.fit = {16, 16, 0, Fit::How::middle}, .workers = 3, .hash_as_read = hash_as_read});
    const SetInfo info = look_at(set, 3);
    EXPECT_EQ(info.sha256, files.content_sha256());
    EXPECT_EQ(info.values.mean, measure(files).mean);
    EXPECT_EQ(info.values.std, measure(files).std);
    EXPECT_EQ(info.per_class, (std::vector<int64_t>{3, 3}));
    for (const auto& reads : counted->reads) EXPECT_EQ(reads, hash_as_read ? 1 : 2);
  }
}

TEST_F(ImageFolder, IsBroughtToAnotherSizeWithoutOpeningItAgain) {
  const Data data = open({.keep_files = true}), other = open();
  const auto set = dynamic_cast<const EncodedImages&>(*data.train).at_size(16, 16);
  EXPECT_EQ(image(*set, 4), image(*other.train, 4));
  EXPECT_EQ(set->content_sha256(), other.train->content_sha256());
  EXPECT_NE(set->content_sha256(), data.train->content_sha256()) << "negative control";
}

}  // namespace
}  // namespace lockstep
