#include "layers/regularization/dropout.h"

#include <cmath>

#include "core/random.h"
#include "core/step_state.h"
#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"
#include "layers/cpu/vec.h"

namespace lockstep::cpu {

namespace {

/// Philox blocks computed side by side, and the elements that they decide.
constexpr int64_t group_blocks = 16, group_elements = 4 * group_blocks;

/// to_uniform of Random::bits, times 2^24, for blocks `first` to `first` + 15 of one sample. `first` is a multiple of
/// 16, so that its upper half is theirs as well.
void random_bits(PhiloxKey key, uint64_t sample, uint64_t first, int32_t* bits) {
  const auto low = [](uint64_t v) { return static_cast<uint32_t>(v); };
  const auto high = [](uint64_t v) { return static_cast<uint32_t>(v >> 32); };
  const uint32_t block_low = low(first), block_high = high(first), sample_low = low(sample), sample_high = high(sample);
  const auto mix = [](uint32_t& c0, uint32_t& c1, uint32_t& c2, uint32_t& c3, uint32_t k0, uint32_t k1) {
    const uint64_t a = uint64_t{0xD2511F53} * c0, b = uint64_t{0xCD9E8D57} * c2;
    c0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(b);
    c2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(a);
  };
  constexpr uint32_t half = group_blocks / 2;
#pragma omp simd
  for (uint32_t i = 0; i < half; ++i) {
    // Two blocks in each lane of the vector: one alone waits for its own multiplications.
    uint32_t c0 = block_low + i, c1 = block_high, c2 = sample_low, c3 = sample_high;
    uint32_t d0 = c0 + half, d1 = c1, d2 = c2, d3 = c3;
    uint32_t k0 = key[0], k1 = key[1];
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      mix(c0, c1, c2, c3, k0, k1);
      mix(d0, d1, d2, d3, k0, k1);
      k0 += 0x9E3779B9;
      k1 += 0xBB67AE85;
    }
    int32_t *c = bits + 4 * i, *d = c + 4 * half;
    c[0] = static_cast<int32_t>(c0 >> 8);
    c[1] = static_cast<int32_t>(c1 >> 8);
    c[2] = static_cast<int32_t>(c2 >> 8);
    c[3] = static_cast<int32_t>(c3 >> 8);
    d[0] = static_cast<int32_t>(d0 >> 8);
    d[1] = static_cast<int32_t>(d1 >> 8);
    d[2] = static_cast<int32_t>(d2 >> 8);
    d[3] = static_cast<int32_t>(d3 >> 8);
  }
}

}  // namespace

Kernel make(const DropoutOp& op, const Signature& signature) {
  const Shape& shape = signature.in[0].shape;
  const SampleRuns part = op.runs(shape);
  // Groups are those of whole samples, wherever a run begins.
  const int64_t runs = part.runs(), groups = part.pieces(group_elements);
  // to_uniform(bits) = (bits >> 8) / 2^24, so comparing whole numbers decides the same.
  const auto threshold = static_cast<int32_t>(std::ceil(double{op.rate} * 0x1p24));
  return {.run = [=, samples = shape[0], layer = op.layer, scale = 1 / (1 - op.rate)](Stream&, const Args& args) {
    const float* x = args.in[0].as();
    float* y = args.out[0].as();
    const auto& step = *args.in[1].as<StepState>();
    const int64_t first_sample = args.in[2].as<LaneState>()->first;
    const PhiloxKey key = Random(step.seed, Purpose::dropout, layer, step.step).key();
    const int64_t bytes = std::min(part.length, group_elements) * 16;
    parallel_for(samples * runs * groups, bytes, [=](int64_t begin, int64_t end) {
      int32_t bits[group_elements];
      int64_t known_sample = -1, known_group = -1;  // whose the bits are: short runs share them
      for (int64_t g = begin; g < end; ++g) {
        const int64_t run = g / groups, sample = runs == 1 ? run : run / runs;
        const int64_t start = runs == 1 ? part.first : part.start(run % runs);
        const int64_t group = start / group_elements + g % groups, first = group * group_elements;
        const int64_t from = std::max(first, start), to = std::min(first + group_elements, start + part.length);
        if (from >= to) continue;
        if (sample != known_sample || group != known_group)
          random_bits(key, static_cast<uint64_t>(first_sample + sample), static_cast<uint64_t>(group * group_blocks),
                      bits);
        known_sample = sample;
        known_group = group;
        const int64_t at = run * part.length + from - start;
        const int32_t* decides = bits + (from - first);
        for_each_vec(to - from, [&]<class V>(V, int64_t i) {
          IntOf<V> number;
          std::memcpy(&number, decides + i, sizeof number);
          const V zero = broadcast<V>(0);
          store(y + at + i, number < broadcast_int<V>(threshold) ? zero : load<V>(x + at + i) * broadcast<V>(scale));
        });
      }
    });
  }};
}

}  // namespace lockstep::cpu
