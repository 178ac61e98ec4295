#include "launch/data/feed/feed.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <set>

#include "core/error.h"
#include "tests/support/errors.h"

namespace lockstep {
namespace {

using test::error_of;
using test::says;

/// Sample i is an image of 2x1x2 that holds i, its label is i mod 7. May fail at one sample or take its time.
class Counting final : public Dataset {
 public:
  explicit Counting(int64_t size, int64_t fails_at = -1, int milliseconds = 0)
      : size_(size), fails_at_(fails_at), milliseconds_(milliseconds) {}
  int64_t size() const override { return size_; }
  Shape image_shape() const override { return {2, 1, 2}; }
  int classes() const override { return 7; }
  int32_t read(int64_t index, std::span<float> image) const override {
    ++reads;
    if (milliseconds_ > 0) std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds_));
    if (index == fails_at_) throw InputError("sample {} is broken", index);
    for (float& value : image) value = static_cast<float>(index) + 1;
    return static_cast<int32_t>(index % 7);
  }
  std::string content_sha256() const override { return ""; }

  mutable std::atomic<int> reads = 0;

 private:
  int64_t size_, fails_at_;
  int milliseconds_;
};

/// All that `ranks` ranks are given over `steps`, put together in rank order.
std::vector<Batch> all_batches(int64_t size, FeedOptions options, int64_t ranks) {
  std::vector<Batch> whole(static_cast<size_t>(options.steps));
  const auto data = std::make_shared<Counting>(size);
  options.lane_count = options.lanes / ranks;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    options.first_lane = rank * options.lane_count;
    BatchFeed feed(data, options);
    for (auto& to : whole) {
      const Batch& from = feed.next();
      EXPECT_EQ(static_cast<int64_t>(from.lanes.size()), options.lane_count);
      EXPECT_EQ(from.images.size(), 4 * from.labels.size());
      to.images.insert(to.images.end(), from.images.begin(), from.images.end());
      to.labels.insert(to.labels.end(), from.labels.begin(), from.labels.end());
      to.lanes.insert(to.lanes.end(), from.lanes.begin(), from.lanes.end());
      EXPECT_TRUE(rank == 0 || to.samples == from.samples);
      to.samples = from.samples;
      to.step = from.step;
      to.epoch = from.epoch;
      to.step_in_epoch = from.step_in_epoch;
      to.end_of_epoch = from.end_of_epoch;
    }
  }
  return whole;
}

bool same(const Batch& a, const Batch& b) {
  return a.images == b.images && a.labels == b.labels && a.samples == b.samples && a.step == b.step &&
         a.epoch == b.epoch && a.end_of_epoch == b.end_of_epoch && a.lanes.size() == b.lanes.size() &&
         std::memcmp(a.lanes.data(), b.lanes.data(), a.lanes.size() * sizeof(LaneState)) == 0;
}

TEST(BatchFeed, EveryNumberOfRanksSeesTheSameBatches) {
  const FeedOptions options{.batch = 32, .lanes = 8, .shuffle = true, .seed = 7, .steps = 9};
  const auto one = all_batches(100, options, 1);
  for (int64_t ranks : {2, 4, 8}) {
    const auto many = all_batches(100, options, ranks);
    for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(same(one[i], many[i])) << ranks << " ranks, step " << i;
  }
  FeedOptions other = options;
  other.seed = 8;
  EXPECT_FALSE(same(one[0], all_batches(100, other, 1)[0])) << "the test sees no difference";
}

TEST(BatchFeed, AnEpochHoldsEverySampleOnce) {
  const auto batches = all_batches(100, {.batch = 32, .lanes = 8, .shuffle = true, .seed = 7, .steps = 8}, 2);
  for (size_t epoch = 0; epoch < 2; ++epoch) {
    std::multiset<float> seen;
    for (size_t i = 4 * epoch; i < 4 * epoch + 4; ++i) {
      const Batch& batch = batches[i];
      EXPECT_EQ(batch.epoch, static_cast<int64_t>(epoch));
      EXPECT_EQ(batch.step, static_cast<int64_t>(i));
      EXPECT_EQ(batch.step_in_epoch, static_cast<int64_t>(i % 4));
      EXPECT_EQ(batch.end_of_epoch, i % 4 == 3);
      for (int64_t k = 0; k < batch.samples; ++k) {
        const float value = batch.images[static_cast<size_t>(4 * k)];
        EXPECT_EQ(batch.labels[static_cast<size_t>(k)], (static_cast<int32_t>(value) - 1) % 7);
        seen.insert(value);
      }
    }
    ASSERT_EQ(seen.size(), 100U);
    float expected = 1;
    for (float value : seen) EXPECT_EQ(value, expected++);
  }
  EXPECT_NE(batches[0].labels, batches[4].labels) << "both epochs have one order";
}

TEST(BatchFeed, TheShortLastBatchIsPaddedBehindItsSamples) {
  const auto batches = all_batches(37, {.batch = 16, .lanes = 4, .steps = 3}, 4);
  const Batch& last = batches[2];
  EXPECT_EQ(last.samples, 5);
  EXPECT_TRUE(last.end_of_epoch);
  const int64_t first[] = {0, 4, 8, 12};
  const int64_t valid[] = {4, 1, 0, 0};
  for (size_t lane = 0; lane < 4; ++lane) {
    EXPECT_EQ(last.lanes[lane].first, first[lane]);
    EXPECT_EQ(last.lanes[lane].valid, valid[lane]);
  }
  for (size_t i = 0; i < 16; ++i) {
    EXPECT_EQ(last.labels[i], i < 5 ? static_cast<int32_t>(32 + i) % 7 : 0);
    for (size_t k = 0; k < 4; ++k) EXPECT_EQ(last.images[4 * i + k], i < 5 ? static_cast<float>(33 + i) : 0.0F);
  }
  for (const auto& lane : batches[1].lanes) EXPECT_EQ(lane.valid, 4);
}

TEST(BatchFeed, PaddingIsCleanAfterAFullBatch) {
  // The ring's buffers are used again: what a full batch left must not show through.
  const auto batches = all_batches(20, {.batch = 16, .lanes = 2, .steps = 12, .ahead = 1}, 1);
  for (size_t i = 1; i < 12; i += 2)
    for (size_t k = 16; k < 64; ++k) EXPECT_EQ(batches[i].images[k], 0.0F);
}

TEST(BatchFeed, ARestartGoesOnWhereTheRunWas) {
  FeedOptions options{.batch = 32, .lanes = 8, .shuffle = true, .seed = 7, .steps = 12};
  const auto whole = all_batches(100, options, 1);
  options.first_step = 8;
  options.first_epoch = 2;
  options.steps = 4;
  const auto rest = all_batches(100, options, 1);
  for (size_t i = 0; i < 4; ++i) EXPECT_TRUE(same(whole[8 + i], rest[i])) << i;
}

TEST(BatchFeed, ImagesGivenOnceAreTheImagesGivenAlways) {
  FeedOptions options{.batch = 16, .lanes = 4, .lane_count = 4, .shuffle = true, .seed = 3, .steps = 9};
  const auto data = std::make_shared<Counting>(37);
  BatchFeed always(data, options);
  options.once = true;
  BatchFeed once(std::make_shared<Counting>(37), options);
  std::vector<float> kept(37 * 4, 0.0F);
  size_t given = 0;
  for (int64_t step = 0; step < options.steps; ++step) {
    const Batch& expected = always.next();
    const Batch& batch = once.next();
    EXPECT_TRUE(step < 3 || batch.fresh.empty());
    given += batch.fresh.size();
    for (const size_t i : batch.fresh)
      std::copy_n(batch.images.data() + 4 * i, 4, kept.data() + 4 * static_cast<size_t>(batch.rows[i]));
    EXPECT_EQ(batch.labels, expected.labels);
    for (size_t i = 0; i < 16; ++i)
      for (size_t k = 0; k < 4; ++k)
        EXPECT_EQ(batch.rows[i] < 0 ? 0.0F : kept[4 * static_cast<size_t>(batch.rows[i]) + k],
                  expected.images[4 * i + k]);
  }
  EXPECT_EQ(given, 37U);
}

TEST(BatchFeed, WithoutShufflingTheOrderIsTheDataSets) {
  const auto batches = all_batches(10, {.batch = 4, .steps = 3}, 1);
  for (size_t i = 0; i < 10; ++i) EXPECT_EQ(batches[i / 4].images[i % 4 * 4], static_cast<float>(i + 1));
}

TEST(BatchFeed, ABatchStaysUntilTheNextIsTaken) {
  const auto data = std::make_shared<Counting>(64);
  BatchFeed feed(data, {.batch = 4, .steps = 16, .ahead = 2});
  for (int64_t i = 0; i < 16; ++i) {
    const Batch& batch = feed.next();
    const auto before = batch.images;
    // Time for the thread to go as far ahead as it may: two batches and the one in use.
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_EQ(batch.images, before);
    EXPECT_LE(data->reads, 4 * (i + 3));
  }
  EXPECT_TRUE(says(error_of<Error>([&] { feed.next(); }), {"16 batches, no more"}));
}

TEST(BatchFeed, PreparesAhead) {
  const auto data = std::make_shared<Counting>(64);
  BatchFeed feed(data, {.batch = 4, .steps = 16, .ahead = 3});
  feed.next();
  for (int i = 0; i < 2000 && data->reads < 16; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(data->reads, 16) << "one batch in use and three ahead";
}

TEST(BatchFeed, WhatTheDataThrowsComesAtItsBatch) {
  BatchFeed feed(std::make_shared<Counting>(64, 9), {.batch = 4, .steps = 16});
  EXPECT_EQ(feed.next().step, 0);
  EXPECT_EQ(feed.next().step, 1);
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(says(error_of([&] { feed.next(); }), {"sample 9 is broken"}));
}

TEST(BatchFeed, StopsWithinASample) {
  const auto start = std::chrono::steady_clock::now();
  {
    BatchFeed feed(std::make_shared<Counting>(1 << 20, -1, 10), {.batch = 1 << 20, .steps = 4});
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

TEST(BatchFeed, RefusesOptionsThatContradictEachOther) {
  const auto data = std::make_shared<Counting>(64);
  const auto refused = [&](FeedOptions options) { return error_of<Error>([&] { BatchFeed feed(data, options); }); };
  EXPECT_TRUE(says(refused({.batch = 10, .lanes = 4, .steps = 1}), {"10", "4 lanes"}));
  EXPECT_TRUE(says(refused({.batch = 0, .steps = 1}), {"batch of 0"}));
  EXPECT_TRUE(
      says(refused({.batch = 8, .lanes = 4, .first_lane = 3, .lane_count = 2, .steps = 1}), {"lanes 3 to 4 of 4"}));
  EXPECT_TRUE(says(refused({.batch = 8, .steps = 1, .ahead = 0}), {"0 ahead"}));
  EXPECT_TRUE(says(refused({.batch = 8, .augmentation = {.flip = true}, .once = true, .steps = 1}), {"augmented"}));
  EXPECT_TRUE(says(error_of<Error>([&] { BatchFeed feed(std::make_shared<Counting>(0), {.batch = 8, .steps = 1}); }),
                   {"empty"}));
}

}  // namespace
}  // namespace lockstep
