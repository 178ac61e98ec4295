// Readers of foreign bytes refuse what is not sound, and nothing worse: on sound inputs, and on thousands of damaged
// ones. tests/fuzz/run looks further, with libFuzzer.
#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"
#include "core/random.h"
#include "tests/fuzz/targets.h"

namespace lockstep {
namespace {

constexpr int mutations = 4000;

/// Random numbers by counter, so that a failure can be found again.
class Dice {
 public:
  explicit Dice(uint64_t round) : round_(round) {}
  size_t below(size_t count) { return random_.bits(round_, at_++)[0] % std::max<size_t>(count, 1); }

 private:
  Random random_{1, Purpose::data};
  uint64_t round_, at_ = 0;
};

/// Some bytes changed, cut off, doubled or taken from elsewhere.
fuzz::Bytes damaged(fuzz::Bytes bytes, Dice& dice) {
  for (size_t times = 1 + dice.below(4); times > 0; --times) {
    const size_t at = dice.below(bytes.size()), length = std::min(dice.below(16) + 1, bytes.size() - at);
    const auto begin = bytes.begin() + static_cast<ptrdiff_t>(at);
    switch (dice.below(6)) {
      case 0:
        if (at < bytes.size()) bytes[at] ^= static_cast<uint8_t>(1 << dice.below(8));
        break;
      case 1:
        if (at < bytes.size()) bytes[at] = static_cast<uint8_t>(dice.below(256));
        break;
      case 2:
        bytes.resize(at);
        break;
      case 3:
        std::fill_n(begin, length, static_cast<uint8_t>(dice.below(2) * 255));
        break;
      case 4: {
        const fuzz::Bytes part(begin, begin + static_cast<ptrdiff_t>(length));
        bytes.insert(bytes.begin() + static_cast<ptrdiff_t>(dice.below(bytes.size() + 1)), part.begin(), part.end());
        break;
      }
      default:
        bytes.erase(begin, begin + static_cast<ptrdiff_t>(length));
    }
  }
  return bytes;
}

class Fuzz : public ::testing::TestWithParam<fuzz::Target> {};

TEST_P(Fuzz, RefusesOrReads) {
  const auto seeds = GetParam().seeds();
  ASSERT_FALSE(seeds.empty());
  int sound = 0;
  for (const auto& seed : seeds) {
    try {
      GetParam().read(seed);
      ++sound;
    } catch (const InputError&) {
      // Some seeds are there to be refused.
    }
  }
  EXPECT_GE(sound, 1) << "no seed is sound: the target tests nothing";
  int refused = 0;
  for (int i = 0; i < mutations; ++i) {
    Dice dice(static_cast<uint64_t>(i));
    const auto bytes = damaged(seeds[static_cast<size_t>(i) % seeds.size()], dice);
    try {
      GetParam().read(bytes);
    } catch (const InputError&) {
      ++refused;
    }
  }
  EXPECT_GE(refused, 1);
}

INSTANTIATE_TEST_SUITE_P(Targets, Fuzz, ::testing::ValuesIn(fuzz::targets().begin(), fuzz::targets().end()),
                         [](const auto& target) { return target.param.name; });

}  // namespace
}  // namespace lockstep
