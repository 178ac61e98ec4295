// CIFAR's binary files, NumPy's arrays, splits, and the threads that read.
#include <gtest/gtest.h>
#include <lzma.h>

#include <atomic>
#include <mutex>
#include <numeric>
#include <set>

#include "launch/data/crew.h"
#include "launch/data/readers/cifar.h"
#include "launch/data/readers/npz.h"
#include "launch/data/readers/open.h"
#include "launch/data/subset.h"
#include "launch/files/gzip.h"
#include "launch/files/xz.h"
#include "tests/launch/data/golden_files.h"
#include "tests/launch/data/sample.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

namespace lockstep {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::says;
using testing::golden_array;
using testing::image;
using testing::label;
using testing::real_data;

std::string xz(const std::string& bytes) {
  std::string packed(bytes.size() + 1000, '\0');
  size_t size = 0;
  EXPECT_EQ(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC64, nullptr, reinterpret_cast<const uint8_t*>(bytes.data()),
                                    bytes.size(), reinterpret_cast<uint8_t*>(packed.data()), &size, packed.size()),
            LZMA_OK);
  packed.resize(size);
  return packed;
}

// ---------------------------------------------------------------------------------------------- CIFAR

/// Records whose pixels tell record, channel and place.
std::string records(int count, int labels, int first) {
  std::string bytes;
  for (int i = 0; i < count; ++i) {
    for (int l = 0; l < labels; ++l) bytes += static_cast<char>((first + i + l) % 10);
    for (int c = 0; c < 3; ++c)
      for (int p = 0; p < 1024; ++p) bytes += static_cast<char>(first + i + 50 * c + p / 32 * 3 + p % 32);
  }
  return bytes;
}

class Cifar : public ::testing::Test {
 protected:
  Cifar() {
    for (int i = 1; i <= 5; ++i) write("data_batch_" + std::to_string(i) + ".bin", records(2, 1, 2 * i));
    write("test_batch.bin", records(3, 1, 0));
  }
  fs::path path(const std::string& name) const { return folder_.path() / name; }
  void write(const std::string& name, const std::string& bytes) const { testing::write_file(path(name), bytes); }
  Data open(const std::string& kind = "cifar10") const { return open_data(kind + ":" + folder_.path().string()); }

 private:
  testing::TemporaryFolder folder_;
};

TEST_F(Cifar, IsReadAsWritten) {
  const Data data = open();
  EXPECT_EQ(data.train->size(), 10);
  EXPECT_EQ(data.test->size(), 3);
  EXPECT_EQ(data.train->image_shape(), (Shape{32, 32, 3}));
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(label(*data.train, i), (i + 2) % 10);
    const auto pixels = image(*data.train, i);
    for (int y = 0; y < 32; ++y)
      for (int x = 0; x < 32; ++x)
        for (int c = 0; c < 3; ++c)
          ASSERT_EQ(pixels[static_cast<size_t>((y * 32 + x) * 3 + c)],
                    static_cast<float>((2 + i + 50 * c + 3 * y + x) % 256) / 255.0F);
  }
  EXPECT_TRUE(data.class_names.empty());
  write("batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
  EXPECT_EQ(open().class_names.at(9), "j");
  write("batches.meta.txt", "a\nb\n");
  EXPECT_TRUE(says(error_of([&] { open(); }), {"batches.meta.txt", "2 class names, expected 10"}));
}

TEST_F(Cifar, HundredHasTwoLabelsARecord) {
  write("train.bin", records(4, 2, 0));
  write("test.bin", records(1, 2, 7));
  const Data data = open("cifar100");
  EXPECT_EQ(data.train->classes(), 100);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(label(*data.train, i), i + 1) << "the fine label";
  EXPECT_EQ(image(*data.train, 2)[0], 2.0F / 255.0F);
}

TEST_F(Cifar, MayBePacked) {
  const std::string plain = open().train->content_sha256();
  fs::remove(path("data_batch_2.bin"));
  const std::string all = records(2, 1, 4);
  // Two streams in a row are one file.
  write("data_batch_2.bin.xz", xz(all.substr(0, 1000)) + xz(all.substr(1000)));
  EXPECT_EQ(open().train->content_sha256(), plain);
  const std::string packed = testing::read_text(path("data_batch_2.bin.xz"));
  for (const size_t n : {size_t{0}, size_t{9}, packed.size() / 2, packed.size() - 1}) {
    write("data_batch_2.bin.xz", packed.substr(0, n));
    EXPECT_TRUE(says(error_of([&] { open(); }), {"data_batch_2.bin.xz", "ends at byte " + std::to_string(n)})) << n;
  }
  std::string bad = packed;
  bad[bad.size() / 3] ^= 1;
  write("data_batch_2.bin.xz", bad);
  EXPECT_TRUE(says(error_of([&] { open(); }), {"data_batch_2.bin.xz", "corrupt xz data at byte"}));
}

TEST_F(Cifar, WhatIsWrongIsToldWithItsPlace) {
  std::string bytes = records(2, 1, 0);
  write("data_batch_3.bin", bytes.substr(0, 5000));
  EXPECT_TRUE(says(error_of([&] { open(); }), {"data_batch_3.bin: byte 5000", "record 1", "3073"}));
  bytes[3073] = 10;
  write("data_batch_3.bin", bytes);
  EXPECT_TRUE(says(error_of([&] { open(); }), {"data_batch_3.bin: byte 3073", "label 10 of record 1", "0 to 9"}));
  fs::remove(path("data_batch_3.bin"));
  EXPECT_TRUE(says(error_of([&] { open(); }), {"data_batch_3.bin", "data_batch_3.bin.xz"}));
  EXPECT_TRUE(says(error_of([&] { open_data("cifar10:/nowhere"); }), {"'/nowhere'", "directory"}));
  EXPECT_TRUE(says(error_of([&] { open_data("cifar10"); }), {"expected cifar10:DIR"}));
}

TEST(RealCifar, IsAsPublished) {
  const fs::path folder = real_data("cifar-10-batches-bin");
  if (!fs::exists(folder)) GTEST_SKIP() << "no CIFAR-10 in " << folder << "; LOCKSTEP_TEST_DATA may name its parent";
  // One batch of six: unpacking takes seconds.
  const fs::path file = folder / "test_batch.bin.xz";
  const auto set = parse_cifar(unxz(read_file(file), file.string()), cifar10, file.string());
  EXPECT_EQ(set.labels.size(), 10000U);
  const std::vector<uint8_t> first(set.labels.begin(), set.labels.begin() + 5);
  EXPECT_EQ(first, (std::vector<uint8_t>{3, 8, 8, 0, 6}));
  EXPECT_EQ(std::ranges::count(set.labels, 9), 1000);
}

// ---------------------------------------------------------------------------------------------- NumPy

class Numpy : public ::testing::Test {
 protected:
  std::string write(const std::string& name, std::string extension = ".npy") const {
    const auto bytes = golden_array(name);
    const fs::path path = folder_.path() / (name + extension);
    testing::write_file(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    return path.string();
  }

 private:
  testing::TemporaryFolder folder_;
};

TEST_F(Numpy, PairsOfArraysAreRead) {
  for (const std::string labels : {"labels_i8", "labels_i2_column"}) {
    const Data data = open_data("npy:" + write("u1") + "," + write(labels));
    EXPECT_EQ(data.train->image_shape(), (Shape{4, 3, 1}));
    EXPECT_EQ(data.train->size(), 5);
    EXPECT_EQ(data.train->classes(), 4);
    for (int i = 0; i < 5; ++i) {
      EXPECT_EQ(label(*data.train, i), (std::vector<int>{3, 0, 2, 1, 2})[static_cast<size_t>(i)]);
      for (int k = 0; k < 12; ++k)
        EXPECT_EQ(image(*data.train, i)[static_cast<size_t>(k)], static_cast<float>((i * 12 + k) * 7 % 256) / 255.0F);
    }
  }
  for (const std::string type : {"f4", "f8"}) {
    const auto images = parse_npy(golden_array(type), type);
    EXPECT_EQ(images.type(), type);
    EXPECT_EQ(images.value(71), 0.71F);
  }
}

TEST_F(Numpy, OtherOrdersOfBytesAndSidesAreTheSameArray) {
  for (const auto& [name, plain] :
       {std::pair{"big_endian", "f4"}, {"big_endian_f8", "f8"}, {"fortran", "f8"}, {"fortran_u1", "u1"}}) {
    const Array read = parse_npy(golden_array(name), name), expected = parse_npy(golden_array(plain), plain);
    EXPECT_EQ(read.shape, expected.shape) << name;
    EXPECT_EQ(read.type(), expected.type()) << name;
    EXPECT_TRUE(read.bytes == expected.bytes) << name;
  }
  const std::string sha = open_data("npy:" + write("u1") + "," + write("labels_i8")).train->content_sha256();
  for (const char* labels : {"labels_big_endian", "fortran_column"})
    EXPECT_EQ(open_data("npy:" + write("fortran_u1") + "," + write(labels)).train->content_sha256(), sha) << labels;
}

TEST_F(Numpy, WhatNothingAskedForIsNotRead) {
  EXPECT_EQ(open_data("npz:" + write("others", ".npz")).train->content_sha256(),
            open_data("npz:" + write("train_only", ".npz")).train->content_sha256());
  EXPECT_TRUE(says(error_of([&] { open_data("npz:" + write("bad_labels", ".npz")); }),
                   {"bad_labels.npz: y_train: byte 10", "'<U1'"}));
}

TEST_F(Numpy, ChannelsMayComeFirst) {
  const std::string last = "npz:" + write("channels_last", ".npz"), first = "npz:" + write("channels_first", ".npz");
  const Data expected = open_data(last);
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(open_data(first).train->image_shape(), (Shape{3, 2, 5}));
  EXPECT_TRUE(
      says(::testing::internal::GetCapturedStderr(),
           {"channels_first.npz: x_train: images are u1 [4, 3, 2, 5], read as 3 rows and 2 columns of 5 channels",
            "--channels-first reads them as 3 channels of 2 rows and 5 columns"}));
  ::testing::internal::CaptureStderr();
  const Data data = open_data(first, {.channels_first = true});
  EXPECT_EQ(data.train->image_shape(), (Shape{2, 5, 3}));
  EXPECT_EQ(data.train->content_sha256(), expected.train->content_sha256());
  EXPECT_EQ(data.test->content_sha256(), expected.test->content_sha256());
  EXPECT_EQ(image(*data.test, 2), image(*expected.test, 2));
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "") << "nothing to tell of";
  EXPECT_TRUE(says(error_of([] { open_data("digits", {.channels_first = true}); }), {"--channels-first", "npz:FILE"}));
}

TEST_F(Numpy, ArchivesAreRead) {
  const Data stored = open_data("npz:" + write("stored", ".npz"));
  const Data deflated = open_data("npz:" + write("deflated", ".npz"));
  EXPECT_EQ(stored.train->content_sha256(), deflated.train->content_sha256());
  EXPECT_EQ(stored.train->content_sha256(),
            open_data("npy:" + write("u1") + "," + write("labels_i8")).train->content_sha256());
  EXPECT_EQ(stored.test->size(), 2);
  EXPECT_EQ(stored.test->classes(), 4);
  EXPECT_EQ(label(*stored.test, 0), 3);
  EXPECT_EQ(open_data("npz:" + write("train_only", ".npz")).test, nullptr);
  EXPECT_TRUE(says(error_of([&] { open_data("npz:" + write("half", ".npz")); }), {"no array 'y_train'"}));
}

TEST_F(Numpy, WhatCannotBeReadIsToldWithItsPlace) {
  const auto refused = [](const std::string& name) { return error_of([&] { parse_npy(golden_array(name), name); }); };
  EXPECT_TRUE(says(refused("complex"), {"complex: byte 10", "'<c8'", "whole numbers"}));
  EXPECT_TRUE(says(refused("text"), {"'<U1'", "whole numbers"}));
  const auto u1 = golden_array("u1");
  for (size_t n = 0; n < u1.size(); ++n)
    EXPECT_TRUE(says(error_of([&] {
                       parse_npy({u1.begin(), u1.begin() + static_cast<ptrdiff_t>(n)}, "x");
                     }),
                     {"x: byte "}))
        << n;
  const auto opened = [](const std::string& files) { return error_of([&] { open_data("npy:" + files); }); };
  const std::string images = write("u1"), labels = write("labels_i8"), negative = write("labels_negative");
  EXPECT_TRUE(says(opened(images + "," + negative), {negative + ": label -2 of sample 2", "0 to"}));
  EXPECT_TRUE(says(opened(images + "," + images), {images + ": labels are u1 [5, 4, 3]", "[5]"}));
  EXPECT_TRUE(says(opened(labels + "," + labels), {labels + ": images are i8 [5]", "[N, H, W, C]"}));
  EXPECT_TRUE(says(opened(images), {"npy:IMAGES.npy,LABELS.npy"}));
}

TEST_F(Numpy, DamagedArchivesAreRefused) {
  for (const std::string name : {"stored", "deflated"}) {
    const auto whole = golden_array(name);
    const auto parse_npz = [&](std::span<const uint8_t> bytes) {
      return lockstep::parse_npz(bytes, name, {"x_train", "y_train", "x_test", "y_test"});
    };
    const auto sound = parse_npz(whole);
    EXPECT_EQ(sound.size(), 4U);
    for (size_t n = 0; n < whole.size(); ++n)
      ASSERT_TRUE(says(error_of([&] { parse_npz(std::span(whole).first(n)); }), {name, "byte"})) << n;
    size_t refused = 0;
    for (size_t i = 0; i < whole.size(); ++i) {
      auto bad = whole;
      bad[i] ^= 0x40;
      try {
        const auto arrays = parse_npz(bad);
        // What is let pass are dates, modes and names; never other numbers.
        for (const auto& [key, array] : arrays) {
          if (!sound.contains(key)) continue;
          EXPECT_TRUE(array.bytes == sound.at(key).bytes) << "byte " << i;
        }
      } catch (const InputError&) {
        ++refused;
      }
    }
    EXPECT_GE(refused, whole.size() / 4);
  }
}

// ---------------------------------------------------------------------------------------------- split

TEST(Split, HoldsOutByKeyAndSeed) {
  const auto data = open_data("synthetic:2x2x1/4/2000").train;
  const Split parts = split(data, 0.25F, 7);
  EXPECT_EQ(parts.rest->size() + parts.held_out->size(), 2000);
  EXPECT_NEAR(static_cast<double>(parts.held_out->size()), 500, 4 * std::sqrt(2000 * 0.25 * 0.75));
  std::set<uint64_t> keys;
  for (int64_t i = 0; i < parts.held_out->size(); ++i) {
    keys.insert(parts.held_out->key(i));
    EXPECT_EQ(image(*parts.held_out, i), image(*data, static_cast<int64_t>(parts.held_out->key(i))));
  }
  for (int64_t i = 0; i < parts.rest->size(); ++i) EXPECT_TRUE(keys.insert(parts.rest->key(i)).second);
  EXPECT_EQ(split(data, 0.25F, 7).held_out->content_sha256(), parts.held_out->content_sha256());
  EXPECT_NE(split(data, 0.25F, 8).held_out->content_sha256(), parts.held_out->content_sha256());
  // A longer set has the same samples on the same sides.
  const Split longer = split(open_data("synthetic:2x2x1/4/3000").train, 0.25F, 7);
  for (int64_t i = 0; i < parts.held_out->size(); ++i) EXPECT_EQ(longer.held_out->key(i), parts.held_out->key(i));
  for (const float share : {-0.1F, 1.0F, 2.0F})
    EXPECT_TRUE(says(error_of([&] { split(data, share, 0); }), {"validation split"}));
  EXPECT_TRUE(says(error_of([&] { split(open_data("synthetic:2x2x1/2/3").train, 0.0001F, 0); }), {"3 of 3 images"}));
}

TEST(Split, StratifiedHoldsOutTheShareOfEachClass) {
  const auto counts = [](const Dataset& set) {
    std::vector<int> of_class(static_cast<size_t>(set.classes()));
    for (int64_t i = 0; i < set.size(); ++i) ++of_class.at(static_cast<size_t>(set.label(i)));
    return of_class;
  };
  const auto digits = open_data("digits").train;
  bool plain_is_off = false;
  for (const float share : {0.1F, 0.37F, 0.8F})
    for (const uint64_t seed : {0, 5}) {
      const Split parts = stratified_split(digits, share, seed), plain = split(digits, share, seed);
      EXPECT_EQ(parts.rest->size() + parts.held_out->size(), 1437);
      const auto all = counts(*digits), held_out = counts(*parts.held_out), by_hash = counts(*plain.held_out);
      for (size_t c = 0; c < all.size(); ++c) {
        const double exact = double{share} * all[c];
        EXPECT_LE(std::abs(held_out[c] - exact), 0.5001) << "class " << c;
        plain_is_off |= std::abs(by_hash[c] - exact) > 2;
      }
    }
  EXPECT_TRUE(plain_is_off) << "the negative control";
  EXPECT_EQ(label(*digits, 700), digits->label(700));

  // Samples come one by one: at most one other of the class changes its side.
  const auto all = open_data("synthetic:2x2x1/3/90").train;
  const auto keys = [&](int64_t size) {
    std::vector<int64_t> first(static_cast<size_t>(size));
    std::iota(first.begin(), first.end(), 0);
    const auto held_out = stratified_split(subset(all, first), 0.3F, 1).held_out;
    std::set<uint64_t> found;
    for (int64_t i = 0; i < held_out->size(); ++i) found.insert(held_out->key(i));
    return found;
  };
  for (int64_t size = 30; size < 90; ++size) {
    const auto before = keys(size), after = keys(size + 1);
    std::vector<uint64_t> moved;
    std::ranges::set_symmetric_difference(before, after, std::back_inserter(moved));
    std::erase(moved, static_cast<uint64_t>(size));
    EXPECT_LE(moved.size(), 1U) << size;
    for (const uint64_t key : moved) EXPECT_EQ(key % 3, static_cast<uint64_t>(size % 3)) << "another class";
  }
  EXPECT_NE(stratified_split(digits, 0.1F, 1).held_out->content_sha256(),
            stratified_split(digits, 0.1F, 2).held_out->content_sha256());
  EXPECT_EQ(counts(*stratified_split(open_data("synthetic:2x2x1/2/3").train, 0.9F, 0).rest), (std::vector{1, 1}));
  EXPECT_TRUE(says(error_of([&] { stratified_split(digits, 1.0F, 0); }), {"validation split of 1"}));
}

TEST(Split, IsMadeBeforeMeasuring) {
  const PreparedData whole = prepare_data("digits");
  const PreparedData parts = prepare_data("digits", {.resize = "16", .validation_split = 0.2F, .seed = 3});
  EXPECT_EQ(parts.data.train->size() + parts.data.validation->size(), 1437);
  EXPECT_EQ(parts.data.test->size(), 360);
  EXPECT_EQ(parts.data.validation->image_shape(), (Shape{16, 16, 1}));
  EXPECT_NE(parts.normalisation->mean, whole.normalisation->mean);
  EXPECT_EQ(whole.data.validation, nullptr);
}

TEST(Measure, DoesNotDependOnWorkers) {
  const auto data = open_data("synthetic:9x7x3/4/101").train;
  const Normalisation one = measure(*data), five = measure(*data, 5);
  EXPECT_EQ(one.mean, five.mean);
  EXPECT_EQ(one.std, five.std);
}

// ---------------------------------------------------------------------------------------------- crew

TEST(Crew, DoesEachPartOnce) {
  for (const int workers : {1, 2, 5}) {
    Crew crew(workers);
    EXPECT_EQ(crew.workers(), workers);
    for (const int64_t count : {0, 1, 3, 1000}) {
      std::vector<std::atomic<int>> done(static_cast<size_t>(count));
      std::vector<std::atomic<int>> inside(static_cast<size_t>(workers));
      crew.each(count, [&](int64_t part, int worker) {
        EXPECT_EQ(inside[static_cast<size_t>(worker)]++, 0) << "a worker has two parts at once";
        ++done[static_cast<size_t>(part)];
        --inside[static_cast<size_t>(worker)];
      });
      for (const auto& times : done) EXPECT_EQ(times, 1);
    }
  }
}

TEST(Crew, ThrowsWhatTheLowestPartThrew) {
  for (const int workers : {1, 2, 5}) {
    Crew crew(workers);
    for (int round = 0; round < 50; ++round)
      EXPECT_EQ(error_of([&] {
                  crew.each(100, [&](int64_t part, int) {
                    if (part == 30) std::this_thread::sleep_for(std::chrono::microseconds(100));
                    if (part >= 30 && part % 2 == 0) throw InputError("part {}", part);
                  });
                }),
                "part 30");
    std::atomic<int> after = 0;
    crew.each(10, [&](int64_t, int) { ++after; });
    EXPECT_EQ(after, 10);
  }
}

}  // namespace
}  // namespace lockstep
