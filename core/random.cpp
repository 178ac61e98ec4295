#include "core/random.h"

#include <bit>

namespace lockstep {

PhiloxCounter philox4x32(PhiloxCounter c, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * c[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ key[0], static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ c[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return c;
}

namespace {

constexpr uint32_t low(uint64_t x) { return static_cast<uint32_t>(x); }
constexpr uint32_t high(uint64_t x) { return static_cast<uint32_t>(x >> 32); }

}  // namespace

Random::Random(uint64_t seed, Purpose purpose, uint32_t layer, uint64_t step) {
  const auto derived =
      philox4x32({static_cast<uint32_t>(purpose), layer, low(step), high(step)}, {low(seed), high(seed)});
  key_ = {derived[0], derived[1]};
}

PhiloxCounter Random::bits(uint64_t sample, uint64_t block) const {
  return philox4x32({low(block), high(block), low(sample), high(sample)}, key_);
}

uint64_t Seed::for_rank(int rank) const {
  const auto bits = Random(value, Purpose::rank).bits(static_cast<uint64_t>(rank), 0);
  return uint64_t{bits[1]} << 32 | bits[0];
}

KeyedPermutation::KeyedPermutation(uint64_t size, uint64_t seed, uint64_t epoch)
    : size_(size),
      half_bits_((static_cast<int>(std::bit_width(size > 1 ? size - 1 : 1)) + 1) / 2),
      random_(seed, Purpose::shuffle, 0, epoch) {}

uint64_t KeyedPermutation::operator()(uint64_t i) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  do {
    uint64_t left = i >> half_bits_;
    uint64_t right = i & mask;
    for (uint64_t round = 0; round < 4; ++round) {
      const uint64_t mixed = left ^ (random_.bits(round, right)[0] & mask);
      left = right;
      right = mixed;
    }
    i = left << half_bits_ | right;
  } while (i >= size_);
  return i;
}

}  // namespace lockstep
