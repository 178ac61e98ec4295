#include "core/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <utility>
#include <vector>

#include "layers/base/initializer.h"

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

// Frozen numbers: a change in any of them changes every run that was ever recorded. They come from a second
// implementation of the formulas, whose Philox gave the known answers above.

TEST(Random, KeepsItsNumbers) {
  EXPECT_EQ(Random(7, Purpose::dropout, 3, 11).key(), (PhiloxKey{0x3c7be7f6, 0xe3bb4269}));
  EXPECT_EQ(Random(7, Purpose::dropout, 3, 11).bits(5, 2),
            (PhiloxCounter{0xfa01615c, 0x88ec9cef, 0xaf63f46c, 0xe765e005}));
  // Both halves of each 64-bit argument have their places.
  const auto wide = [](uint64_t high, uint64_t low) { return high << 32 | low; };
  EXPECT_EQ(Random(wide(3, 7), Purpose::dropout, 3, wide(5, 11)).bits(wide(9, 5), wide(2, 2)),
            (PhiloxCounter{0xb815604a, 0x643db1b9, 0xe3c720b4, 0xf22e3bca}));
  const std::pair<Purpose, PhiloxCounter> purposes[]{
      {Purpose::initialise, {0x35cb552f, 0x04e00ab3, 0xea885334, 0xf0806011}},
      {Purpose::shuffle, {0xfa84b1f5, 0x6cd83701, 0xa5cc98ca, 0x301e1ab6}},
      {Purpose::dropout, {0xfd7db44e, 0xb490a3d4, 0x72af15ad, 0x3b3385e9}},
      {Purpose::data, {0x1e1b266a, 0xb54ead9d, 0xe278dd14, 0xbcddec39}},
      {Purpose::rank, {0xaada3068, 0x51f069a8, 0xc3ab5f8f, 0xa6732357}},
      {Purpose::augment, {0x94381034, 0x78d9e242, 0x72d31b8f, 0x0cb95fdc}},
  };
  for (const auto& [purpose, bits] : purposes) EXPECT_EQ(Random(7, purpose).bits(0, 0), bits);
  EXPECT_EQ(Seed{7}.for_rank(3), 0xfb60966eb2d0ab64);
}

TEST(KeyedPermutation, KeepsItsNumbers) {
  const auto first = [](size_t count, uint64_t size, uint64_t epoch) {
    const KeyedPermutation permutation(size, 7, epoch);
    std::vector<uint64_t> result;
    for (uint64_t i = 0; i < count; ++i) result.push_back(permutation(i));
    return result;
  };
  using Numbers = std::vector<uint64_t>;
  EXPECT_EQ(first(10, 10, 0), (Numbers{6, 3, 8, 2, 1, 4, 7, 0, 9, 5}));
  EXPECT_EQ(first(12, 1437, 3), (Numbers{331, 1054, 440, 1120, 1366, 980, 437, 823, 406, 276, 819, 303}));
  EXPECT_EQ(first(8, 60000, uint64_t{1} << 32), (Numbers{48595, 23673, 28989, 23725, 31566, 45211, 55227, 7563}));
  EXPECT_EQ(first(4, uint64_t{1} << 40, 1), (Numbers{645836431826, 975505239605, 370266211559, 467306757961}));
}

TEST(Initializer, KeepsItsNumbers) {
  std::vector<float> drawn(10);
  glorot_uniform(30, 70).fill(drawn, 1, 2);
  EXPECT_EQ(drawn,
            (std::vector<float>{-0x1.f23194p-4F, -0x1.16b288p-5F, 0x1.e6a77ep-5F, 0x1.4db8e0p-4F, -0x1.dbbc6ap-3F,
                                0x1.55ecdap-4F, -0x1.2c8742p-4F, 0x1.196fa2p-4F, -0x1.91170ep-4F, -0x1.84b116p-3F}));
}

TEST(Random, DependsOnEveryArgument) {
  const uint64_t high = uint64_t{1} << 32;
  std::set<PhiloxCounter> seen;
  int made = 0;
  const auto add = [&](const Random& random, uint64_t sample, uint64_t block) {
    seen.insert(random.bits(sample, block));
    ++made;
  };
  add(Random(1, Purpose::initialise, 0, 0), 0, 0);
  add(Random(2, Purpose::initialise, 0, 0), 0, 0);
  add(Random(1 + high, Purpose::initialise, 0, 0), 0, 0);
  for (auto purpose : {Purpose::shuffle, Purpose::dropout, Purpose::data, Purpose::rank, Purpose::augment})
    add(Random(1, purpose, 0, 0), 0, 0);
  add(Random(1, Purpose::initialise, 1, 0), 0, 0);
  add(Random(1, Purpose::initialise, 0, 1), 0, 0);
  add(Random(1, Purpose::initialise, 0, high), 0, 0);
  add(Random(1, Purpose::initialise, 0, 0), 1, 0);
  add(Random(1, Purpose::initialise, 0, 0), high, 0);
  add(Random(1, Purpose::initialise, 0, 0), 0, 1);
  add(Random(1, Purpose::initialise, 0, 0), 0, high);
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
  for (const auto& values : {uniforms(Purpose::initialise, 0, 1), uniforms(Purpose::initialise, 1, 0)}) {
    const double n = static_cast<double>(values.size());
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
    // Five standard deviations of the mean of n uniform numbers.
    EXPECT_LE(std::abs(mean - 0.5), 5 * std::sqrt(1.0 / 12 / n));
    // 99 degrees of freedom: above 160 with probability 1e-4, below 50 likewise.
    EXPECT_LE(chi_square(values, 100), 160);
    EXPECT_GE(chi_square(values, 100), 50);
  }
  std::vector<float> skewed = uniforms(Purpose::initialise, 0, 1);
  for (float& value : skewed) value *= value;
  EXPECT_FALSE(chi_square(skewed, 100) <= 160) << "the test sees no difference";
}

TEST(Random, PurposesAreUncorrelated) {
  const auto a = uniforms(Purpose::initialise, 0, 1);
  const auto correlation = [&](const std::vector<float>& b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - 0.5) * (b[i] - 0.5);
    return sum * 12 / static_cast<double>(a.size());
  };
  const double limit = 5 / std::sqrt(static_cast<double>(a.size()));
  for (auto purpose : {Purpose::shuffle, Purpose::dropout, Purpose::data, Purpose::rank, Purpose::augment})
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
