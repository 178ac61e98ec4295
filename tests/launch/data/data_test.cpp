#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "core/error.h"
#include "launch/data/readers/digits.h"
#include "launch/data/readers/open.h"
#include "launch/files/sha256.h"
#include "tests/launch/data/sample.h"
#include "tests/support/errors.h"
#include "tests/support/paths.h"
#include "tests/support/temporary_folder.h"

namespace lockstep {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::says;
using testing::image;
using testing::label;
using testing::real_data;

// ---------------------------------------------------------------------------------------------- digits

TEST(Digits, AreTheFileTheyClaimToBe) {
  const auto bytes = embedded_digits();
  EXPECT_EQ(bytes.size(), 57523U);
  const std::string hash = sha256(std::as_bytes(bytes));
  EXPECT_EQ(hash, "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22");
  EXPECT_TRUE(says(testing::read_text(test::source_dir() + "/launch/data/README.md"), {hash, "CC BY 4.0"}));
}

TEST(Digits, AreReadAsTheyArePublished) {
  const Data data = open_data("digits");
  EXPECT_EQ(data.name, "digits");
  EXPECT_EQ(data.train->size(), 1437);
  EXPECT_EQ(data.test->size(), 360);
  EXPECT_EQ(data.train->image_shape(), (Shape{8, 8, 1}));
  EXPECT_EQ(data.train->classes(), 10);
  for (int32_t i = 0; i < 10; ++i) EXPECT_EQ(label(*data.train, i), i);
  // The first two rows of the first image: 0 0 5 13 9 1 0 0 and 0 0 13 15 10 15 5 0.
  const int rows[] = {0, 0, 5, 13, 9, 1, 0, 0, 0, 0, 13, 15, 10, 15, 5, 0};
  for (size_t i = 0; i < 16; ++i) EXPECT_EQ(image(*data.train, 0)[i], static_cast<float>(rows[i]) / 16);

  // Over both sets: UCI's count of each class.
  std::vector<int> counts(10);
  float most = 0;
  for (const auto& set : {data.train, data.test})
    for (int64_t i = 0; i < set->size(); ++i) {
      ++counts.at(static_cast<size_t>(label(*set, i)));
      for (float x : image(*set, i)) most = std::max(most, x);
    }
  EXPECT_EQ(counts, (std::vector<int>{178, 182, 177, 183, 181, 182, 181, 179, 174, 180}));
  EXPECT_EQ(most, 1.0F);
  EXPECT_NE(data.train->content_sha256(), data.test->content_sha256());
  EXPECT_EQ(data.train->content_sha256(), open_data("digits").train->content_sha256());
}

TEST(Digits, RefuseWhatIsOutside) {
  const Data data = open_data("digits");
  std::vector<float> floats(64);
  EXPECT_TRUE(says(error_of<Error>([&] { data.test->read(360, floats); }), {"sample 360", "360"}));
  EXPECT_TRUE(says(error_of<Error>([&] { data.test->read(-1, floats); }), {"sample -1"}));
  EXPECT_TRUE(says(error_of<Error>([&] { data.test->read(0, std::span(floats).first(63)); }), {"[8, 8, 1]", "63"}));
}

TEST(OpenData, NamesTheNearestKind) {
  EXPECT_TRUE(says(error_of([] { open_data("digit"); }), {"unknown data 'digit'", "did you mean 'digits'?"}));
  EXPECT_TRUE(says(error_of([] { open_data("mnist:/x"); }), {"unknown data 'mnist'", "idx"}));
  EXPECT_TRUE(says(error_of([] { open_data("digits:8"); }), {"digits:8"}));
  EXPECT_TRUE(says(error_of([] { open_data("idx"); }), {"idx:DIR"}));
  EXPECT_TRUE(says(error_of([] { open_data(""); }), {"unknown data ''"}));
}

// ---------------------------------------------------------------------------------------------- idx

std::string big_endian(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
          static_cast<char>(value)};
}

std::string gzip(const std::string& bytes) {
  z_stream z{};
  EXPECT_EQ(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string packed(bytes.size() + 1000, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  z.avail_in = static_cast<uInt>(bytes.size());
  z.next_out = reinterpret_cast<Bytef*>(packed.data());
  z.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
  packed.resize(z.total_out);
  deflateEnd(&z);
  return packed;
}

/// A small, sound set of four files in a temporary folder, to be damaged: 6 training and 4 test images of 3x2.
class IdxFolder : public ::testing::Test {
 protected:
  IdxFolder() {
    write("train-images-idx3-ubyte", images(6));
    write("train-labels-idx1-ubyte", labels(6));
    write("t10k-images-idx3-ubyte", images(4));
    write("t10k-labels-idx1-ubyte", labels(4));
  }
  static std::string images(uint32_t count) {
    std::string bytes = big_endian(0x803) + big_endian(count) + big_endian(3) + big_endian(2);
    for (uint32_t i = 0; i < count * 6; ++i) bytes += static_cast<char>(i * 7);
    return bytes;
  }
  static std::string labels(uint32_t count) {
    std::string bytes = big_endian(0x801) + big_endian(count);
    for (uint32_t i = 0; i < count; ++i) bytes += static_cast<char>(9 - i);
    return bytes;
  }
  fs::path path(const std::string& name) const { return folder_.path() / name; }
  void write(const std::string& name, const std::string& bytes) const { testing::write_file(path(name), bytes); }
  std::string spec() const { return "idx:" + folder_.path().string(); }
  std::string refused() const {
    return error_of([&] { open_data(spec()); });
  }
  /// The message once `name` holds `bytes`; the sound file is put back.
  std::string refused_with(const std::string& name, const std::string& bytes) const {
    const std::string old = testing::read_text(path(name));
    write(name, bytes);
    std::string message = refused();
    write(name, old);
    return message;
  }

 private:
  testing::TemporaryFolder folder_;
};

TEST_F(IdxFolder, IsReadAsWritten) {
  const Data data = open_data(spec());
  EXPECT_EQ(data.train->size(), 6);
  EXPECT_EQ(data.test->size(), 4);
  EXPECT_EQ(data.train->image_shape(), (Shape{3, 2, 1}));
  EXPECT_EQ(data.train->classes(), 10);
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(label(*data.train, i), 9 - i);
    for (int k = 0; k < 6; ++k)
      EXPECT_EQ(image(*data.train, i)[static_cast<size_t>(k)], static_cast<float>((i * 6 + k) * 7) / 255.0F);
  }
}

TEST_F(IdxFolder, MayBePackedOrSpeltWithADot) {
  const Data plain = open_data(spec());
  fs::remove(path("train-images-idx3-ubyte"));
  // Two gzip members in a row are one file.
  const std::string all = images(6);
  write("train-images-idx3-ubyte.gz", gzip(all.substr(0, 20)) + gzip(all.substr(20)));
  fs::rename(path("train-labels-idx1-ubyte"), path("train-labels.idx1-ubyte"));
  fs::remove(path("t10k-images-idx3-ubyte"));
  write("t10k-images.idx3-ubyte.gz", gzip(images(4)));
  const Data other = open_data(spec());
  EXPECT_EQ(other.train->content_sha256(), plain.train->content_sha256());
  EXPECT_EQ(other.test->content_sha256(), plain.test->content_sha256());
}

TEST_F(IdxFolder, ContentHashSeesOneBit) {
  const auto before = open_data(spec()).train->content_sha256();
  std::string bytes = images(6);
  bytes[20] ^= 1;
  write("train-images-idx3-ubyte", bytes);
  EXPECT_NE(open_data(spec()).train->content_sha256(), before);
}

TEST_F(IdxFolder, MissingFilesAreNamed) {
  const std::string nowhere = path("nowhere").string();
  EXPECT_TRUE(says(error_of([&] { open_data("idx:" + nowhere); }), {nowhere, "not a directory"}));
  EXPECT_TRUE(
      says(error_of([&] { open_data("idx:" + path("t10k-labels-idx1-ubyte").string()); }), {"not a directory"}));
  fs::remove(path("t10k-labels-idx1-ubyte"));
  EXPECT_TRUE(says(refused(), {path("").parent_path().string(), "t10k-labels-idx1-ubyte", "t10k-labels-idx1-ubyte.gz",
                               "t10k-labels.idx1-ubyte"}));
}

TEST_F(IdxFolder, TruncationIsToldWithItsPlace) {
  const std::string name = "train-images-idx3-ubyte";
  const std::string file = path(name).string();
  const std::string whole = images(6);
  // 16 + 6 * 3 * 2 = 52 bytes.
  for (size_t n : {size_t{0}, size_t{3}})
    EXPECT_TRUE(says(refused_with(name, whole.substr(0, n)), {file, "byte " + std::to_string(n), "the magic number"}));
  EXPECT_TRUE(says(refused_with(name, whole.substr(0, 6)), {file, "byte 6", "number of images", "at byte 4"}));
  EXPECT_TRUE(says(refused_with(name, whole.substr(0, 11)), {file, "byte 11", "height", "at byte 8"}));
  EXPECT_TRUE(says(refused_with(name, whole.substr(0, 15)), {file, "byte 15", "width", "at byte 12"}));
  for (size_t n : {size_t{16}, size_t{30}, size_t{51}})
    EXPECT_TRUE(says(refused_with(name, whole.substr(0, n)),
                     {file, "byte " + std::to_string(n) + ":", "expected 52 bytes", "6 images of 3x2"}));
  const std::string label_file = path("t10k-labels-idx1-ubyte").string();
  EXPECT_TRUE(says(refused_with("t10k-labels-idx1-ubyte", labels(4).substr(0, 11)),
                   {label_file, "byte 11:", "expected 12 bytes", "4 labels"}));
}

TEST_F(IdxFolder, WrongHeadersAreToldWithTheirPlace) {
  const std::string name = "train-images-idx3-ubyte";
  const std::string file = path(name).string();
  EXPECT_TRUE(says(refused_with(name, labels(6)), {file, "byte 0:", "0x00000801", "expected 0x00000803", "images"}));
  EXPECT_TRUE(
      says(refused_with("train-labels-idx1-ubyte", images(6)), {"0x00000803", "expected 0x00000801", "labels"}));
  EXPECT_TRUE(says(refused_with(name, images(6) + "xyz"), {file, "byte 52:", "goes on for 3 more", "52"}));
  EXPECT_TRUE(says(refused_with("train-labels-idx1-ubyte", labels(6) + "x"), {"byte 14:", "goes on for 1 more"}));
  const auto header = [](uint32_t n, uint32_t h, uint32_t w) {
    return big_endian(0x803) + big_endian(n) + big_endian(h) + big_endian(w);
  };
  EXPECT_TRUE(says(refused_with(name, header(0, 3, 2)), {file, "byte 4:", "0 images"}));
  EXPECT_TRUE(says(refused_with(name, header(6, 0, 2)), {file, "byte 8:", "side of 0"}));
  EXPECT_TRUE(says(refused_with(name, header(6, 3, 0)), {file, "byte 12:", "side of 0"}));
  // Products of these overflow 64 bits where sides are not bounded first.
  EXPECT_TRUE(says(refused_with(name, header(~0U, ~0U, ~0U)), {file, "byte 8:", "4294967295"}));
  EXPECT_TRUE(says(refused_with(name, header(~0U, 65535, 65535)), {file, "byte 16:", "4294967295 images"}));
  EXPECT_TRUE(says(refused_with("train-labels-idx1-ubyte", labels(5)),
                   {path("train-labels-idx1-ubyte").string(), "byte 4:", "5 labels", "6 images", file}));
  EXPECT_TRUE(
      says(refused_with("t10k-images-idx3-ubyte", header(4, 2, 3) + std::string(24, 'x')), {"[3, 2, 1]", "[2, 3, 1]"}));
}

TEST_F(IdxFolder, LabelsOutsideTheClassesAreToldWithTheirPlace) {
  for (int value : {10, 255}) {
    std::string bytes = labels(6);
    bytes[12] = static_cast<char>(value);
    EXPECT_TRUE(
        says(refused_with("train-labels-idx1-ubyte", bytes),
             {path("train-labels-idx1-ubyte").string(), "byte 12:", "label " + std::to_string(value), "0 to 9"}));
  }
}

TEST_F(IdxFolder, CorruptGzipIsToldWithItsPlace) {
  const std::string name = "train-images-idx3-ubyte.gz";
  const std::string file = path(name).string();
  fs::remove(path("train-images-idx3-ubyte"));
  const std::string packed = gzip(images(6));
  write(name, packed);
  EXPECT_NO_THROW(open_data(spec())) << "the negative control";
  for (size_t n : {size_t{0}, size_t{5}, packed.size() / 2, packed.size() - 1})
    EXPECT_TRUE(says(refused_with(name, packed.substr(0, n)), {file, "ends at byte " + std::to_string(n), "complete"}));
  std::string bad = packed;
  bad[0] = 'x';
  EXPECT_TRUE(says(refused_with(name, bad), {file, "corrupt gzip data at byte", "header"}));
  bad = packed;
  bad[packed.size() - 8] ^= 1;  // the checksum
  EXPECT_TRUE(says(refused_with(name, bad), {file, "corrupt gzip data at byte", "data check"}));
  EXPECT_TRUE(says(refused_with(name, packed + "rubbish"), {file, "corrupt gzip data at byte", "header"}));
  // Sound gzip around a broken file: the place is one in the unpacked data.
  EXPECT_TRUE(says(refused_with(name, gzip(images(6).substr(0, 40))), {file, "byte 40 of the unpacked data", "52"}));
  // Any single damaged byte is either refused or, in the few that carry no data, harmless; never a crash or other data.
  const auto sound = open_data(spec()).train->content_sha256();
  for (size_t i = 0; i < packed.size(); ++i) {
    bad = packed;
    bad[i] ^= 0x10;
    write(name, bad);
    try {
      EXPECT_EQ(open_data(spec()).train->content_sha256(), sound) << "byte " << i;
    } catch (const InputError& error) {
      EXPECT_TRUE(says(error.what(), {file, "byte"}));
    }
  }
}

// ---------------------------------------------------------------------------------------------- real files

TEST(RealData, MnistIsAsPublished) {
  const fs::path folder = real_data("mnist");
  if (!fs::exists(folder)) GTEST_SKIP() << "no MNIST in " << folder << "; LOCKSTEP_TEST_DATA may name its parent";
  const Data data = open_data("idx:" + folder.string());
  EXPECT_EQ(data.train->size(), 60000);
  EXPECT_EQ(data.test->size(), 10000);
  EXPECT_EQ(data.train->image_shape(), (Shape{28, 28, 1}));
  const int32_t first[] = {5, 0, 4, 1, 9};
  for (int i = 0; i < 5; ++i) EXPECT_EQ(label(*data.train, i), first[i]);
  EXPECT_EQ(label(*data.test, 0), 7);
  const Normalisation measured = measure(*data.train);
  EXPECT_NEAR(measured.mean.at(0), 0.1307, 1e-4);
  EXPECT_NEAR(measured.std.at(0), 0.3081, 1e-4);
}

TEST(RealData, FashionMnistIsAsPublished) {
  const fs::path folder = real_data("fashion-mnist");
  if (!fs::exists(folder))
    GTEST_SKIP() << "no Fashion-MNIST in " << folder << "; LOCKSTEP_TEST_DATA may name its parent";
  const Data data = open_data("idx:" + folder.string());
  EXPECT_EQ(data.train->size(), 60000);
  EXPECT_EQ(data.test->size(), 10000);
  const int32_t first[] = {9, 0, 0, 3, 0};
  for (int i = 0; i < 5; ++i) EXPECT_EQ(label(*data.train, i), first[i]);
  std::vector<int> counts(10);
  for (int64_t i = 0; i < data.test->size(); ++i) ++counts.at(static_cast<size_t>(label(*data.test, i)));
  EXPECT_EQ(counts, std::vector<int>(10, 1000));
  const Normalisation measured = measure(*data.train);
  EXPECT_NEAR(measured.mean.at(0), 0.2860, 1e-4);
  EXPECT_NEAR(measured.std.at(0), 0.3530, 1e-4);
}

}  // namespace
}  // namespace lockstep
