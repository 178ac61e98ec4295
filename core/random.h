// Counter-based random numbers: a pure function of seed, stream, layer, step, sample and element, never of rank, thread
// or call count. Generator: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11).
#pragma once

#include <array>
#include <cstdint>

namespace lockstep {

using PhiloxCounter = std::array<uint32_t, 4>;
using PhiloxKey = std::array<uint32_t, 2>;

/// Ten rounds of Philox4x32.
PhiloxCounter philox4x32(PhiloxCounter counter, PhiloxKey key);

/// What the numbers are for; each purpose has numbers of its own.
enum class Purpose : uint32_t {
  initialise = 1,
  shuffle = 2,
  dropout = 3,
  data = 4,
  rank = 5,
  augment = 6,
  split = 7,
  mix = 8
};

/// The numbers of one purpose, layer and step (or epoch).
class Random {
 public:
  Random(uint64_t seed, Purpose purpose, uint32_t layer = 0, uint64_t step = 0);
  /// Four 32-bit numbers: elements 4*block to 4*block+3 of the sample.
  PhiloxCounter bits(uint64_t sample, uint64_t block) const;
  /// For kernels that compute many blocks at once: bits(sample, block) is Philox of {block, sample} under this key.
  PhiloxKey key() const { return key_; }

 private:
  PhiloxKey key_;
};

/// 24 random bits as a float in [0, 1).
constexpr float to_uniform(uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24F; }

/// The seed of a run.
struct Seed {
  uint64_t value = 0;
  /// A seed for what is truly per rank (placement, fault injection), never for what the result depends on.
  uint64_t for_rank(int rank) const;
};

/// A permutation of 0 … size-1 that is a pure function of its key: a Feistel network over Philox rounds, walked until
/// it lands inside the range (cycle walking; Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002).
class KeyedPermutation {
 public:
  KeyedPermutation(uint64_t size, uint64_t seed, uint64_t epoch);
  /// Where position `i` (< size) of the shuffled order comes from.
  uint64_t operator()(uint64_t i) const;

 private:
  uint64_t size_;
  int half_bits_;
  Random random_;
};

}  // namespace lockstep
