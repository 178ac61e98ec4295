// Conversions between f32, f16 and bf16: every 16-bit number there and back, and rounding between all neighbours.
#include <bit>

#include "layers/reshaping/cast.h"
#include "tests/support/op_check.h"

namespace lockstep::test {
namespace {

constexpr int64_t all = 1 << 16;

/// A 16-bit type with `mantissa` bits after the point.
struct Format {
  DType dtype;
  int mantissa;

  uint16_t infinity() const { return static_cast<uint16_t>(0x7FFF >> mantissa << mantissa); }
  bool is_nan(uint16_t bits) const { return (bits & 0x7FFF) > infinity(); }
  bool is_finite(uint16_t bits) const { return (bits & 0x7FFF) < infinity(); }
  /// The value; where infinity is, the number that would follow the largest.
  double value(uint16_t bits) const {
    const int exponent = (bits & 0x7FFF) >> mantissa, bias = (1 << (14 - mantissa)) - 1;
    const int fraction = bits & ((1 << mantissa) - 1);
    const double magnitude = exponent == 0 ? std::ldexp(fraction, 1 - bias - mantissa)
                                           : std::ldexp(fraction + (1 << mantissa), exponent - bias - mantissa);
    return bits & 0x8000 ? -magnitude : magnitude;
  }
};
constexpr Format f16{DType::f16, 10}, bf16{DType::bf16, 7};

/// By the bits, since a conversion in this thread would flush subnormals.
uint32_t float_bits(double value) {
  const auto bits = std::bit_cast<uint64_t>(value);
  const auto sign = static_cast<uint32_t>(bits >> 32) & 0x80000000U;
  const int exponent = static_cast<int>(bits >> 52 & 0x7FF) - 1023 + 127;
  const uint64_t mantissa = (bits & ((uint64_t{1} << 52) - 1)) | uint64_t{1} << 52;
  if (value == 0) return sign;
  if (exponent <= 0) return sign | static_cast<uint32_t>(mantissa >> (29 + 1 - exponent));
  return sign | static_cast<uint32_t>(exponent) << 23 | (static_cast<uint32_t>(mantissa >> 29) & 0x7FFFFF);
}

Buffer every_number(const Format& format) {
  Buffer buffer(Type{Shape{all}, format.dtype});
  for (size_t i = 0; i < all; ++i) buffer.as<uint16_t>()[i] = static_cast<uint16_t>(i);
  return buffer;
}

class Cast : public testing::TestWithParam<Format> {};
INSTANTIATE_TEST_SUITE_P(Types, Cast, testing::Values(f16, bf16),
                         [](const auto& format) { return std::string(name_of(format.param.dtype)); });

TEST_P(Cast, EveryNumberThereAndBack) {
  const Format format = GetParam();
  const Buffer numbers = every_number(format), wide = run_op(CastOp(DType::f32), {numbers})[0];
  const Buffer back = run_op(CastOp(format.dtype), {wide})[0];
  ASSERT_EQ(wide.type(), (Type{Shape{all}, DType::f32}));
  ASSERT_EQ(back.type(), numbers.type());
  for (size_t i = 0; i < all; ++i) {
    const auto bits = static_cast<uint16_t>(i);
    const uint32_t got = wide.as<uint32_t>()[i];
    if (format.is_nan(bits)) {
      ASSERT_GT(got & 0x7FFFFFFFU, 0x7F800000U) << i;
      ASSERT_TRUE(format.is_nan(back.as<uint16_t>()[i])) << i;
      continue;
    }
    ASSERT_EQ(got, format.is_finite(bits) ? float_bits(format.value(bits)) : (i & 0x8000) << 16 | 0x7F800000U) << i;
    ASSERT_EQ(back.as<uint16_t>()[i], bits) << i;
  }
}

TEST_P(Cast, RoundsToTheNearestAndTiesToEven) {
  const Format format = GetParam();
  // Between each finite number and the next larger magnitude, infinity's place included: below the middle, at it,
  // above.
  std::vector<uint32_t> from;
  std::vector<uint16_t> expected;
  for (uint32_t i = 0; i < all; ++i) {
    const auto low = static_cast<uint16_t>(i), high = static_cast<uint16_t>(i + 1);
    if (!format.is_finite(low)) continue;
    const uint32_t middle = float_bits((format.value(low) + format.value(high)) / 2);
    const uint16_t even = low & 1 ? high : low;
    from.insert(from.end(), {middle - 1, middle, middle + 1});
    expected.insert(expected.end(), {low, even, high});
  }
  const Buffer x = filled(Type{Shape{static_cast<int64_t>(from.size())}}, from);
  const Buffer y = run_op(CastOp(format.dtype), {x})[0];
  for (size_t i = 0; i < from.size(); ++i) ASSERT_EQ(y.as<uint16_t>()[i], expected[i]) << std::hex << from[i];
}

TEST_P(Cast, KeepsNanInfinityAndTheSignOfZero) {
  const Format format = GetParam();
  // A NaN whose only mantissa bits are those that a 16-bit type lacks.
  const std::vector<uint32_t> from{0x7F800001, 0xFF800001, 0x7FFFFFFF, 0x7F800000, 0xFF800000, 0x7F7FFFFF, 0x80000000};
  const Buffer y = run_op(CastOp(format.dtype), {filled(Type{Shape{7}}, from)})[0];
  const auto bits = y.as<uint16_t>();
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(format.is_nan(bits[i])) << i;
  EXPECT_EQ(bits[3], format.infinity());
  EXPECT_EQ(bits[4], format.infinity() | 0x8000);
  EXPECT_EQ(bits[5], format.infinity());
  EXPECT_EQ(bits[6], 0x8000);
}

TEST(CastTypes, ConvertsBetweenThe16BitTypesByWayOfF32) {
  for (const auto& [from, to] : {std::pair{f16, bf16}, {bf16, f16}, {f16, f16}}) {
    const Buffer numbers = every_number(from), wide = run_op(CastOp(DType::f32), {numbers})[0];
    const Buffer direct = run_op(CastOp(to.dtype), {numbers})[0], twice = run_op(CastOp(to.dtype), {wide})[0];
    for (size_t i = 0; i < all; ++i)
      ASSERT_TRUE(from.is_nan(static_cast<uint16_t>(i)) || direct.as<uint16_t>()[i] == twice.as<uint16_t>()[i]) << i;
  }
}

TEST(CastTypes, OfAnySize) {
  for (int64_t n : {0, 1, 7, 8, 9, 100'003}) {
    const Buffer x = integers({n}, 3);
    EXPECT_TRUE(same_bits(run_op(CastOp(DType::f32), {run_op(CastOp(DType::bf16), {x})[0]})[0], x)) << n;
  }
}

TEST(CastTypes, ItsGradientIsTheConversionBack) {
  Graph graph;
  const Value x = graph.source("x", {Shape{2, 3}, DType::f32}, Role::activation);
  const Value y = graph.add1("cast", std::make_shared<CastOp>(DType::f16), {x});
  EXPECT_EQ(graph.type(y), (Type{Shape{2, 3}, DType::f16}));
  const Node node = graph.nodes()[0];
  const auto dx = node.op->backward(graph, node, std::vector<Value>{y});
  ASSERT_EQ(dx.size(), 1U);
  EXPECT_EQ(graph.type(dx[0]), graph.type(x));
  EXPECT_EQ(graph.nodes()[1].name, "cast/grad");
}

TEST(CastTypes, SaysWhatItExpects) {
  EXPECT_EQ(error_of([] { CastOp(DType::i32); }), "cast: got i32, expected f32, f16 or bf16");
  EXPECT_EQ(error_of([] {
              CastOp(DType::f16).infer(std::vector<Type>{{Shape{3}, DType::i32}});
            }),
            "got i32[3], expected elements of type f32, f16 or bf16");
}

}  // namespace
}  // namespace lockstep::test
