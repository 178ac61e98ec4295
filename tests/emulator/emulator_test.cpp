// The emulator of CUDA that tests of the CUDA backend run on: kernels must compute as on a device, and the mistakes
// that it is there to show must show.
#include <gtest/gtest.h>

#include <bit>
#include <cfenv>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <vector>

#include "layers/cuda/device.cuh"
#include "tests/emulator/fixture.h"

namespace lockstep::cuda {
namespace {

EMULATOR_ORDERS(EmulatorTest);

__global__ void places_kernel(uint4* out) {
  const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] = {blockIdx.x + 10 * blockIdx.y + 100 * blockIdx.z,
                                                                threadIdx.x, threadIdx.y, threadIdx.z};
}

TEST_P(EmulatorTest, EveryThreadOfAGridRunsOnceInItsPlace) {
  const dim3 grid(3, 2, 4), block(5, 3, 2);
  const size_t n = 24 * 30;
  uint4* out = device(std::vector<uint4>(n, {77, 77, 77, 77}));
  launch(*stream_, {grid, block}, places_kernel, out);
  const auto got = finished(out, n);
  for (unsigned i = 0; i < n; ++i) {
    const unsigned b = i / 30, t = i % 30;
    const uint4 want{b % 3 + 10 * (b / 3 % 2) + 100 * (b / 6), t % 5, t / 5 % 3, t / 15};
    EXPECT_TRUE(got[i].x == want.x && got[i].y == want.y && got[i].z == want.z && got[i].w == want.w) << i;
  }
}

__global__ void shuffles_kernel(int* out) {
  const int value = static_cast<int>(threadIdx.x) * 3;
  const unsigned full = 0xFFFFFFFFU;
  int* own = out + threadIdx.x * 8;
  own[0] = __shfl_down_sync(full, value, 5);
  own[1] = __shfl_up_sync(full, value, 5);
  own[2] = __shfl_xor_sync(full, value, 6);
  own[3] = __shfl_sync(full, value, 35);
  own[4] = __shfl_down_sync(full, value, 3, 8);
  own[5] = static_cast<int>(__ballot_sync(full, threadIdx.x % 3 == 0));
  own[6] = __any_sync(full, threadIdx.x == 40) * 2 + __all_sync(full, threadIdx.x < 40);
  own[7] = static_cast<int>(__shfl_xor_sync(full, double{1} * value, 1));
}

TEST_P(EmulatorTest, WarpsExchangeValuesAsDocumented) {
  int* out = device(std::vector<int>(64 * 8));
  launch(*stream_, {1, 64}, shuffles_kernel, out);
  const auto got = finished(out, 64 * 8);
  for (int t = 0; t < 64; ++t) {
    const int lane = t % 32, first = t - lane;
    int ballot = 0;
    for (int i = 0; i < 32; ++i) ballot |= static_cast<int>(static_cast<unsigned>((first + i) % 3 == 0) << i);
    const std::vector<int> want{3 * (lane + 5 < 32 ? t + 5 : t),
                                3 * (lane >= 5 ? t - 5 : t),
                                3 * (t ^ 6),
                                3 * (first + 3),
                                3 * (lane % 8 + 3 < 8 ? t + 3 : t),
                                ballot,
                                (first == 32 ? 2 : 0) + (first == 0 ? 1 : 0),
                                3 * (t ^ 1)};
    EXPECT_EQ(std::vector<int>(got.begin() + t * 8, got.begin() + t * 8 + 8), want) << t;
  }
}

__global__ void block_sum_kernel(const double* in, double* out) {
  __shared__ double scratch[32];
  const double* own = in + blockIdx.x * blockDim.x;
  const double sum = block_sum(own[threadIdx.x], scratch);
  const double again = block_sum(2 * own[threadIdx.x], scratch);
  if (threadIdx.x == 0) out[blockIdx.x] = again - sum;
}

TEST_P(EmulatorTest, BlockSumAddsAllThreads) {
  for (const unsigned threads : {32U, 64U, 256U, 1024U}) {
    std::vector<double> values(3 * threads);
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i * i % 101);
    double* out = device(std::vector<double>(3));
    launch(*stream_, {3, threads}, block_sum_kernel, device(values), out);
    const auto got = finished(out, 3);
    for (size_t b = 0; b < 3; ++b) {
      const auto first = values.begin() + static_cast<ptrdiff_t>(b * threads);
      EXPECT_EQ(got[b], std::accumulate(first, first + threads, 0.0)) << threads;
    }
  }
}

template <bool First, bool Second>
__global__ void rotate_kernel(int* out) {
  __shared__ int shared[128];
  for (int round = 0; round < 2; ++round) {
    shared[threadIdx.x] = static_cast<int>(threadIdx.x) + 1000 * round;
    if constexpr (First) __syncthreads();
    out[threadIdx.x + static_cast<unsigned>(round) * 128] = shared[(threadIdx.x + 37) % 128];
    if constexpr (Second) __syncthreads();
  }
}

std::vector<int> rotated() {
  std::vector<int> want(256);
  for (int i = 0; i < 256; ++i) want[static_cast<size_t>(i)] = (i % 128 + 37) % 128 + 1000 * (i / 128);
  return want;
}

TEST_P(EmulatorTest, SharedMemoryIsTheBlocks) {
  int* out = device(std::vector<int>(256));
  launch(*stream_, {1, 128}, rotate_kernel<true, true>, out);
  EXPECT_EQ(finished(out, 256), rotated());
}

TEST_P(EmulatorTest, MissingBarriersAreSeen) {
  int* out = device(std::vector<int>(256));
  launch(*stream_, {1, 128}, rotate_kernel<false, true>, out);
  EXPECT_NE(finished(out, 256), rotated());
  launch(*stream_, {1, 128}, rotate_kernel<true, false>, out);
  EXPECT_NE(finished(out, 256), rotated());
}

__global__ void neighbour_kernel(int* out) {  // lacks a barrier between writing and reading
  __shared__ int shared[64];
  shared[threadIdx.x] = static_cast<int>(threadIdx.x) + static_cast<int>(blockIdx.x) * 64;
  out[blockIdx.x * 64 + threadIdx.x] = shared[threadIdx.x / 2];
}

TEST_P(EmulatorTest, TheTwoOrdersDisagreeWhereABarrierIsMissing) {
  int* out = device(std::vector<int>(128));
  launch(*stream_, {2, 64}, neighbour_kernel, out);
  const auto got = finished(out, 128);
  std::vector<int> want(128);
  for (int i = 0; i < 128; ++i) want[static_cast<size_t>(i)] = i / 64 * 64 + i % 64 / 2;
  EXPECT_EQ(got == want, GetParam() == Order::ascending);  // the first thread that writes is read by later ones
}

__global__ void half_waits_kernel() {
  if (threadIdx.x < 32) return;
  __syncthreads();
}
__global__ void divergent_shuffle_kernel(int* out) {
  if (threadIdx.x % 2) out[threadIdx.x] = __shfl_xor_sync(0xFFFFFFFFU, 1, 1);
}
__global__ void uneven_kernel(int* out) { out[threadIdx.x] = __shfl_xor_sync(0xFFFFFFFFU, 1, 1); }

TEST_P(EmulatorTest, ThreadsThatDoNotMeetAreAnErrorWithItsPlace) {
  int* out = device(std::vector<int>(64));
  const auto refused = [&](auto enqueue) {
    enqueue();
    const std::string error = test::error_of<Error>([&] { stream_->synchronize(); });
    EXPECT_TRUE(test::says(error, {"emulator_test.cpp:", "_kernel", "block (0, 0, 0)"}));
    EXPECT_THROW(stream_->synchronize(), Error);  // a broken device stays broken
    emulator::forget_failure();
  };
  refused([&] { launch(*stream_, {1, 64}, half_waits_kernel); });
  refused([&] { launch(*stream_, {1, 64}, divergent_shuffle_kernel, out); });
  refused([&] { launch(*stream_, {1, 48}, uneven_kernel, out); });
  launch(*stream_, {1, 64}, uneven_kernel, out);
  EXPECT_EQ(finished(out, 64), std::vector<int>(64, 1));
}

TEST_P(EmulatorTest, LaunchesThatADeviceRefusesAreRefused) {
  EXPECT_THROW(launch(*stream_, {1, 1025}, half_waits_kernel), Error);
  EXPECT_THROW(launch(*stream_, {dim3(1, 70000), 32}, half_waits_kernel), Error);
  EXPECT_THROW(launch(*stream_, {0, 32}, half_waits_kernel), Error);
  stream_->synchronize();
}

__global__ void subnormal_kernel(float* x) { *x *= 0.5F; }

TEST_P(EmulatorTest, DevicesKeepSubnormalNumbersWhateverTheHostDoes) {
  const auto flushing = make_cpu_backend(1);  // sets the calling thread up
  float* x = device(std::vector<float>{0x1p-126F});
  launch(*stream_, {1, 1}, subnormal_kernel, x);
  EXPECT_EQ(std::bit_cast<uint32_t>(finished(x, 1)[0]), 1U << 22);
  std::fesetenv(FE_DFL_ENV);
}

/// What a 16-bit pattern stands for, with `fraction` bits after the point.
double value_of(unsigned bits, int fraction, int bias) {
  const int exponent = static_cast<int>(bits >> fraction) & ((1 << (15 - fraction)) - 1);
  const unsigned rest = bits & ((1U << fraction) - 1);
  const double sign = bits & 0x8000U ? -1 : 1;
  if (exponent == (1 << (15 - fraction)) - 1) return rest ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(rest, 1 - bias - fraction);
  return sign * std::ldexp((1U << fraction) + rest, exponent - bias - fraction);
}

/// Every pattern, and for each pair of neighbours the float in the middle and those beside it.
template <class Wide, class Narrow>
void check_conversion(int fraction, int bias, Wide wide, Narrow narrow) {
  const unsigned infinity = ((1U << (15 - fraction)) - 1) << fraction;
  for (unsigned bits = 0; bits < 0x10000U; ++bits) {
    const double want = value_of(bits, fraction, bias);
    const float got = wide(static_cast<unsigned short>(bits));
    if (std::isnan(want)) {
      ASSERT_TRUE(std::isnan(got) && narrow(got) == 0x7FFF) << bits;
      continue;
    }
    ASSERT_TRUE(static_cast<double>(got) == want && std::signbit(got) == std::signbit(want)) << bits;
    ASSERT_EQ(narrow(got), bits);
    const unsigned sign = bits & 0x8000U, magnitude = bits & 0x7FFFU;
    if (magnitude >= infinity) continue;
    // Infinity stands where the next number would be.
    const double next = magnitude + 1 == infinity ? 2 * std::ldexp(1, (1 << (15 - fraction)) - 2 - bias)
                                                  : std::abs(value_of(magnitude + 1, fraction, bias));
    const auto middle = static_cast<float>((std::abs(want) + next) / 2);
    const float flip = sign ? -1.0F : 1.0F;
    const unsigned even = magnitude % 2 ? magnitude + 1 : magnitude;
    ASSERT_EQ(narrow(flip * middle), sign | even) << bits;
    ASSERT_EQ(narrow(flip * std::nextafter(middle, 0.0F)), sign | magnitude) << bits;
    ASSERT_EQ(narrow(flip * std::nextafter(middle, INFINITY)), sign | (magnitude + 1)) << bits;
  }
}

TEST(EmulatorTypes, HalfRoundsToNearestEven) {
  check_conversion(
      10, 15, [](unsigned short bits) { return __half2float(__ushort_as_half(bits)); },
      [](float x) { return __half_as_ushort(__float2half_rn(x)); });
}

TEST(EmulatorTypes, BfloatRoundsToNearestEven) {
  check_conversion(
      7, 127, [](unsigned short bits) { return __bfloat162float(__ushort_as_bfloat16(bits)); },
      [](float x) { return __bfloat16_as_ushort(__float2bfloat16_rn(x)); });
}

TEST_P(EmulatorTest, MemoryIsCountedCheckedAndPoisoned) {
  setenv("LOCKSTEP_EMULATOR_MEMORY", "100000", 1);
  const size_t before = backend_->free_memory().value_or(0);
  {
    const Arena arena(*backend_, 60000);
    EXPECT_EQ(backend_->free_memory().value_or(0), before - 60000);
    EXPECT_TRUE(test::says(test::error_of<Error>([&] { backend_->allocate(60000); }), {"out of memory", "60000"}));
    std::vector<std::byte> room(60001);
    EXPECT_THROW(backend_->copy(room.data(), arena.data(), 60001), Error);
    EXPECT_THROW(backend_->copy(arena.data() + 59999, room.data(), 2), Error);
    backend_->copy(arena.data() + 59999, room.data(), 1);
  }
  EXPECT_EQ(backend_->free_memory().value_or(0), before);
  float* raw = nullptr;
  ASSERT_EQ(cudaMalloc(&raw, 4), cudaSuccess);
  EXPECT_TRUE(std::isnan(host(raw, 1)[0]));
  ASSERT_EQ(cudaFree(raw), cudaSuccess);
  EXPECT_THROW(host(raw, 1), Error);
  EXPECT_EQ(cudaFree(raw), cudaErrorInvalidValue);
  unsetenv("LOCKSTEP_EMULATOR_MEMORY");
}

TEST_P(EmulatorTest, AHostThatTouchesDeviceMemoryEnds) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  constexpr const char* why = "the host touched device memory";
  volatile float* x = device(std::vector<float>{1, 2});
  EXPECT_DEATH(static_cast<void>(*x), why);
  EXPECT_DEATH(x[1] = 3, why);
  const auto host_work = [&] {
    stream_->enqueue([x] { x[1] = 3; });
    stream_->synchronize();
  };
  EXPECT_DEATH(host_work(), why);
}

}  // namespace
}  // namespace lockstep::cuda
