#include "core/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <vector>

namespace lockstep {
namespace {

// Random123's published known answers (kat_vectors: philox4x32, 10 rounds).
TEST(Philox, GivesTheKnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({~0U, ~0U, ~0U, ~0U}, {~0U, ~0U}),
            (PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, KeepsItsNumbers) {
  // Frozen: a change here changes every run that was ever recorded.
  const auto bits = Random(7, Purpose::Dropout, 3, 11).bits(5, 2);
  EXPECT_EQ(bits, Random(7, Purpose::Dropout, 3, 11).bits(5, 2));
  const auto key = Random(7, Purpose::Dropout, 3, 11).key();
  EXPECT_EQ(key, (PhiloxKey{philox4x32({3, 3, 11, 0}, {7, 0})[0], philox4x32({3, 3, 11, 0}, {7, 0})[1]}));
  EXPECT_EQ(bits, philox4x32({2, 0, 5, 0}, key));
}

TEST(Random, DependsOnEveryArgument) {
  const uint64_t high = uint64_t{1} << 32;
  std::set<PhiloxCounter> seen;
  int made = 0;
  const auto add = [&](const Random& random, uint64_t sample, uint64_t block) {
    seen.insert(random.bits(sample, block));
    ++made;
  };
  add(Random(1, Purpose::Initialise, 0, 0), 0, 0);
  add(Random(2, Purpose::Initialise, 0, 0), 0, 0);
  add(Random(1 + high, Purpose::Initialise, 0, 0), 0, 0);
  for (auto purpose : {Purpose::Shuffle, Purpose::Dropout, Purpose::Data, Purpose::Rank})
    add(Random(1, purpose, 0, 0), 0, 0);
  add(Random(1, Purpose::Initialise, 1, 0), 0, 0);
  add(Random(1, Purpose::Initialise, 0, 1), 0, 0);
  add(Random(1, Purpose::Initialise, 0, high), 0, 0);
  add(Random(1, Purpose::Initialise, 0, 0), 1, 0);
  add(Random(1, Purpose::Initialise, 0, 0), high, 0);
  add(Random(1, Purpose::Initialise, 0, 0), 0, 1);
  add(Random(1, Purpose::Initialise, 0, 0), 0, high);
  EXPECT_EQ(static_cast<int>(seen.size()), made);
}

/// Chi-square statistic of `values` over equal bins.
double chi_square(const std::vector<float>& values, size_t bins) {
  std::vector<double> counts(bins);
  for (float value : values) counts.at(static_cast<size_t>(value * static_cast<float>(bins))) += 1;
  const double expected = static_cast<double>(values.size()) / static_cast<double>(bins);
  return std::accumulate(counts.begin(), counts.end(), 0.0, [&](double sum, double count) {
    return sum + (count - expected) * (count - expected) / expected;
  });
}

std::vector<float> uniforms(Purpose purpose, uint64_t sample_step, uint64_t block_step) {
  std::vector<float> values;
  const Random random(42, purpose);
  for (uint64_t i = 0; i < 25000; ++i)
    for (uint32_t bits : random.bits(i * sample_step, i * block_step)) values.push_back(to_uniform(bits));
  return values;
}

TEST(Random, IsUniformAlongSamplesAndBlocks) {
  for (const auto& values : {uniforms(Purpose::Initialise, 0, 1), uniforms(Purpose::Initialise, 1, 0)}) {
    const double n = static_cast<double>(values.size());
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
    // Five standard deviations of the mean of n uniform numbers.
    EXPECT_LE(std::abs(mean - 0.5), 5 * std::sqrt(1.0 / 12 / n));
    // 99 degrees of freedom: above 160 with probability 1e-4, below 50 likewise.
    EXPECT_LE(chi_square(values, 100), 160);
    EXPECT_GE(chi_square(values, 100), 50);
  }
  std::vector<float> skewed = uniforms(Purpose::Initialise, 0, 1);
  for (float& value : skewed) value *= value;
  EXPECT_FALSE(chi_square(skewed, 100) <= 160) << "the test sees no difference";
}

TEST(Random, PurposesAreUncorrelated) {
  const auto a = uniforms(Purpose::Initialise, 0, 1);
  const auto correlation = [&](const std::vector<float>& b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - 0.5) * (b[i] - 0.5);
    return sum * 12 / static_cast<double>(a.size());
  };
  const double limit = 5 / std::sqrt(static_cast<double>(a.size()));
  for (auto purpose : {Purpose::Shuffle, Purpose::Dropout, Purpose::Data, Purpose::Rank})
    EXPECT_LE(std::abs(correlation(uniforms(purpose, 0, 1))), limit);
  EXPECT_GT(correlation(a), limit) << "the test sees no correlation";
}

TEST(Random, UniformStaysBelowOne) {
  EXPECT_EQ(to_uniform(0), 0.0F);
  EXPECT_LT(to_uniform(~0U), 1.0F);
  EXPECT_EQ(to_uniform(1U << 31), 0.5F);
}

TEST(Seed, DiffersByRank) {
  std::set<uint64_t> seen;
  for (int rank = 0; rank < 1000; ++rank) seen.insert(Seed{7}.for_rank(rank));
  EXPECT_EQ(seen.size(), 1000U);
  EXPECT_EQ(Seed{7}.for_rank(3), Seed{7}.for_rank(3));
  EXPECT_NE(Seed{7}.for_rank(3), Seed{8}.for_rank(3));
}

std::vector<uint64_t> order(uint64_t size, uint64_t seed, uint64_t epoch) {
  const KeyedPermutation permutation(size, seed, epoch);
  std::vector<uint64_t> result;
  for (uint64_t i = 0; i < size; ++i) result.push_back(permutation(i));
  return result;
}

TEST(KeyedPermutation, MeetsEveryNumberOnce) {
  std::vector<uint64_t> sizes(300);
  std::iota(sizes.begin(), sizes.end(), uint64_t{1});
  sizes.insert(sizes.end(), {1024, 1437, 4097, 60000});
  for (uint64_t size : sizes) {
    auto result = order(size, 7, size);
    std::sort(result.begin(), result.end());
    for (uint64_t i = 0; i < size; ++i) ASSERT_EQ(result[i], i) << "size " << size;
  }
}

TEST(KeyedPermutation, DiffersBySeedAndEpoch) {
  EXPECT_EQ(order(1437, 7, 0), order(1437, 7, 0));
  EXPECT_NE(order(1437, 7, 0), order(1437, 7, 1));
  EXPECT_NE(order(1437, 7, 0), order(1437, 8, 0));
  // A shuffled order keeps about one number in its place, whatever the size; ten are a sign of a weak network.
  const auto result = order(1437, 7, 0);
  int kept = 0;
  for (uint64_t i = 0; i < result.size(); ++i) kept += result[i] == i;
  EXPECT_LE(kept, 10);
}

TEST(KeyedPermutation, SendsAPositionAnywhere) {
  // Where position 0 goes over many epochs is uniform: 15 degrees of freedom, above 45 with probability 1e-4.
  std::vector<float> places;
  for (uint64_t epoch = 0; epoch < 8000; ++epoch)
    places.push_back((static_cast<float>(KeyedPermutation(16, 1, epoch)(0)) + 0.5F) / 16);
  EXPECT_LE(chi_square(places, 16), 45);
}

}  // namespace
}  // namespace lockstep
