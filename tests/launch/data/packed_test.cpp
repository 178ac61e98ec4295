#include "launch/data/image/packed.h"

#include <gtest/gtest.h>

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
using testing::read_text;

class PackedFile : public ::testing::Test {
 protected:
  std::string path(const std::string& name = "packed") const { return (folder_.path() / name).string(); }
  std::string spec() const { return "packed:" + path(); }
  /// A folder of image files of several sizes.
  std::string photographs() const {
    for (const char* name : {"in", "in/ants", "in/bees"}) fs::create_directory(path(name));
    for (const auto& [name, golden] : {std::pair{"in/ants/a.jpg", "jpeg_420"},
                                       {"in/ants/b.png", "png_palette"},
                                       {"in/bees/c.jpg", "jpeg_exif_6"},
                                       {"in/bees/d.jpg", "jpeg_cmyk"}})
      testing::write_file(path(name), golden_text(golden));
    return "images:" + path("in");
  }
  static void expect_same(const Dataset& a, const Dataset& b) {
    ASSERT_EQ(a.size(), b.size());
    EXPECT_EQ(a.image_shape(), b.image_shape());
    EXPECT_EQ(a.classes(), b.classes());
    for (int64_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(label(a, i), label(b, i));
      EXPECT_EQ(a.key(i), b.key(i));
      ASSERT_TRUE(image(a, i) == image(b, i)) << "sample " << i;
    }
  }

 private:
  testing::TemporaryFolder folder_;
};

TEST_F(PackedFile, HoldsTheSameSamples) {
  // Bytes; bytes of another white, which are floats; and floats.
  for (const std::string source : {"npz", "digits", "synthetic:6x5x3/4/20"}) {
    std::string given = source;
    if (source == "npz") {
      const auto bytes = testing::golden_array("stored");
      testing::write_file(path("x.npz"), {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
      given = "npz:" + path("x.npz");
    }
    const Data data = open_data(given);
    const Packed packed = write_packed(data, path(), false, 2);
    EXPECT_EQ(packed.records, data.train->size() + data.test->size());
    EXPECT_EQ(packed.bytes, fs::file_size(path()));
    const Data back = open_data(spec());
    expect_same(*data.train, *back.train);
    expect_same(*data.test, *back.test);
    EXPECT_EQ(back.validation, nullptr);
    EXPECT_NE(back.train->content_sha256(), back.test->content_sha256());
  }
  EXPECT_TRUE(says(error_of<Error>([&] { write_packed(open_data("digits"), path("no/where"), false, 1); }),
                   {"no/where", "No such file"}));
}

TEST_F(PackedFile, ImageFilesMayStayFiles) {
  const std::string given = photographs();
  write_packed(open_data(given, {.keep_files = true}), path(), true, 2);
  const DataOptions small{.resize = "12x10"};
  const Data folder = open_data(given, small), packed = open_data(spec(), small);
  EXPECT_EQ(packed.class_names, (std::vector<std::string>{"ants", "bees"}));
  expect_same(*folder.train, *packed.train);
  EXPECT_EQ(folder.train->content_sha256(), packed.train->content_sha256());
  EXPECT_TRUE(says(error_of([&] { open_data(spec()); }), {"several sizes", "--resize"}));
  // The same side of a split, since keys are kept.
  EXPECT_EQ(split(folder.train, 0.5F, 1).held_out->content_sha256(),
            split(packed.train, 0.5F, 1).held_out->content_sha256());
}

TEST_F(PackedFile, ImageFilesMayBecomePixels) {
  const Data folder = open_data(photographs(), {.resize = "12x10"});
  write_packed(folder, path(), false, 1);
  const Data packed = open_data(spec());
  expect_same(*folder.train, *packed.train);
  EXPECT_EQ(packed.class_names, folder.class_names);
  const std::string once = read_text(path());
  write_packed(folder, path(), false, 3);
  EXPECT_TRUE(read_text(path()) == once) << "the file depends on the workers";
  EXPECT_FALSE(fs::exists(path() + ".tmp"));
}

TEST_F(PackedFile, TruncatedFilesAreRefusedWithTheRecord) {
  write_packed(open_data("synthetic:4x4x1/2/3/1"), path(), false, 1);
  const std::string whole = read_text(path());
  for (size_t n = 0; n < whole.size(); ++n) {
    testing::write_file(path(), whole.substr(0, n));
    ASSERT_TRUE(says(error_of([&] { open_data(spec()); }), {path()})) << n;
  }
  // Four records of 64 bytes at the end, each aligned to 64.
  const size_t last = whole.size() - 64;
  testing::write_file(path(), whole.substr(0, last + 10));
  EXPECT_TRUE(says(error_of([&] { open_data(spec()); }), {"byte " + std::to_string(last + 10), "record 3",
                                                          "expected 64 bytes from byte " + std::to_string(last)}));
  testing::write_file(path(), whole.substr(0, last - 64 + 10));
  EXPECT_TRUE(says(error_of([&] { open_data(spec()); }), {"record 2"}));
  testing::write_file(path(), whole + "x");
  EXPECT_TRUE(says(error_of([&] { open_data(spec()); }), {"bytes, expected " + std::to_string(whole.size())}));
}

TEST_F(PackedFile, AnyDamagedByteIsFound) {
  write_packed(open_data("synthetic:4x4x1/2/3/1"), path(), false, 1);
  const std::string whole = read_text(path());
  const auto read_all = [&] {
    const Data data = open_data(spec());
    for (const auto& set : {data.train, data.test})
      for (int64_t i = 0; i < set->size(); ++i) image(*set, i);
  };
  EXPECT_NO_THROW(read_all()) << "the negative control";
  size_t let_pass = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string bad = whole;
    bad[i] = static_cast<char>(bad[i] ^ 0x20);
    testing::write_file(path(), bad);
    if (error_of(read_all).empty()) ++let_pass;
  }
  // The header's reserved bytes, and those between the parts that align records.
  EXPECT_LE(let_pass, 28U + 64U);
  std::string bad = whole;
  bad[whole.size() - 70] = static_cast<char>(bad[whole.size() - 70] ^ 1);
  testing::write_file(path(), bad);
  const Data data = open_data(spec());
  EXPECT_NO_THROW(image(*data.train, 0));
  EXPECT_TRUE(says(error_of([&] { image(*data.train, 2); }),
                   {path(), "record 2 at byte " + std::to_string(whole.size() - 128), "checksum"}));
}

TEST_F(PackedFile, IsLookedAt) {
  const std::string given = photographs();
  std::string cut = golden_text("jpeg_exif_6");
  cut.resize(cut.size() - 40);
  testing::write_file(path("in/bees/c.jpg"), cut);
  testing::write_file(path("in/bees/e.jpg"), "no image");
  for (const int workers : {1, 3}) {
    const Data data = open_data(given, {.resize = "8", .on_corrupt = "skip", .workers = workers});
    const Data looked_at =
        open_data(given, {.resize = "8", .on_corrupt = "skip", .workers = workers, .hash_as_read = true});
    EXPECT_EQ(looked_at.train->size(), 4);
    const SetInfo info = look_at(*looked_at.train, workers);
    EXPECT_EQ(info.samples, 3);
    EXPECT_EQ(info.per_class, (std::vector<int64_t>{2, 1}));
    ASSERT_EQ(info.corrupt.size(), 2U);
    EXPECT_TRUE(says(info.corrupt[0], {"e.jpg"}));
    EXPECT_TRUE(says(info.corrupt[1], {"c.jpg: byte"}));
    EXPECT_EQ(info.values.mean, measure(*data.train).mean);
    EXPECT_EQ(info.sha256, data.train->content_sha256());
    EXPECT_EQ(look_at(*data.train, workers).sha256, info.sha256);
    EXPECT_EQ(data.train->size(), 3);
    // In a pack too.
    write_packed(open_data(given, {.on_corrupt = "skip", .keep_files = true, .hash_as_read = true}), path(), true, 1);
    expect_same(*data.train, *open_data(spec(), {.resize = "8", .on_corrupt = "skip"}).train);
  }
}

TEST_F(PackedFile, SaysHowItsImagesWerePrepared) {
  const std::string given = photographs();
  const Fit middle{12, 12, 14, Fit::How::middle}, stretched{8, 8};
  write_packed(open_data(given, {.resize = "12:14"}), path(), false, 1);
  EXPECT_EQ(fits_of(*open_data(spec()).train), std::vector{middle});
  const PreparedData smaller = prepare_data(spec(), {.resize = "8", .normalise = "none"});
  EXPECT_EQ(smaller.preparation.fits, (std::vector{middle, stretched}));
  // From the photographs and from the pack the same is made by one description, whatever was done already.
  const DataOptions as{.normalise = "none", .preparation = smaller.preparation};
  const Data from_pack = prepare_data(spec(), as).data, from_files = prepare_data(given, as).data;
  ASSERT_EQ(from_files.train->size(), 4);
  for (int64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(image(*from_pack.train, i), image(*smaller.data.train, i)) << i;
    EXPECT_EQ(image(*from_files.train, i), image(*smaller.data.train, i)) << i;
  }
  EXPECT_TRUE(says(error_of([&] {
                     prepare_data(spec(), {.preparation = Preparation{12, 12, 3, {{12, 12}}}});
                   }),
                   {"middle 12x12 of the shorter side 14", "stretch 12x12", "--resize"}));
  // What was resized is not once more; what is as it came stays so.
  EXPECT_EQ(prepare_data(spec(), {.preparation = Preparation{12, 12, 3}}).preparation.fits, std::vector{middle});
  write_packed(open_data("digits"), path(), false, 1);
  EXPECT_TRUE(fits_of(*open_data(spec()).train).empty());
  EXPECT_EQ(prepare_data(spec(), {.resize = "8"}).preparation.fits, std::vector{stretched});
}

}  // namespace
}  // namespace lockstep
