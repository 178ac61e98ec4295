// Dropout by the definition of its masks: what is kept is a function of seed, layer, step, sample and element alone.
#include "core/random.h"
#include "core/step_state.h"
#include "tests/properties/case.h"

namespace lockstep::test {

namespace {

struct Dropped {
  explicit Dropped(Case& c)
      : rate(c.coin() ? c.real(0, 0.95F) : c.one_of({0.0F, 0.25F, 0.5F})),
        layer(static_cast<uint32_t>(c.whole(0, 50))),
        state{.seed = static_cast<uint64_t>(c.seed()), .step = static_cast<uint64_t>(c.whole(0, 9))},
        first(c.whole(0, 1000)) {}
  /// 1 / (1 - rate), or 0.
  double factor(int64_t sample, int64_t element) const {
    const Random random(state.seed, Purpose::dropout, layer, state.step);
    const auto e = static_cast<uint64_t>(element);
    const uint32_t bits = random.bits(static_cast<uint64_t>(first + sample), e / 4)[e % 4];
    return to_uniform(bits) >= rate ? 1 / (1 - double{rate}) : 0;
  }
  std::vector<Buffer> inputs(Case& c, const Buffer& x) const {
    int64_t valid = 0;
    const Buffer lane = c.lane(x.shape()[0], valid, first);
    return {x, state_buffer(state), lane};
  }

  float rate;
  uint32_t layer;
  StepState state;
  int64_t first;
};

}  // namespace

template <>
void property<DropoutOp>(Case& c) {
  const Dropped of(c);
  const Buffer x = c.uniform(c.one_in(3) ? Shape{c.whole(1, 20), c.channels()} : c.images(), -1, 1, c.dtype());
  const Shape& s = x.shape();
  Shape whole = s;
  DropoutOp::Corner corner{};
  if (c.coin())
    for (int d = 1; d < s.rank(); ++d) {  // a part of larger samples
      corner[static_cast<size_t>(d - 1)] = c.one_in(2) ? c.whole(0, 70) : 0;
      whole[d] += corner[static_cast<size_t>(d - 1)] + (c.one_in(2) ? c.whole(0, 5) : 0);
    }
  Sums y;
  for (size_t i = 0; i < count(x); ++i) {
    // The element's place in the whole sample.
    std::array<int64_t, Shape::max_rank> place{};
    auto left = static_cast<int64_t>(i);
    for (int d = s.rank() - 1; d >= 0; --d) {
      place[static_cast<size_t>(d)] = left % s[d];
      left /= s[d];
    }
    int64_t element = 0;
    for (int d = 1; d < s.rank(); ++d)
      element = element * whole[d] + place[static_cast<size_t>(d)] + corner[static_cast<size_t>(d - 1)];
    y.emplace_back(number(x, i) * of.factor(place[0], element));
  }
  c.near("y", c.run(DropoutOp(of.rate, of.layer, whole, corner), of.inputs(c, x))[0], y, 5e-7);
}

template <>
void property<SpatialDropoutOp>(Case& c) {
  const Dropped of(c);
  const Buffer x = c.uniform(c.images(), -1, 1, c.dtype());
  const Shape& s = x.shape();
  const int64_t begin = c.coin() ? 0 : c.whole(1, 70), image = s[1] * s[2] * s[3];
  Sums y;
  for (size_t i = 0; i < count(x); ++i) {
    const auto k = static_cast<int64_t>(i);
    y.emplace_back(number(x, i) * of.factor(k / image, begin + k % s[3]));
  }
  c.near("y", c.run(SpatialDropoutOp(of.rate, of.layer, begin), of.inputs(c, x))[0], y, 5e-7);
}

}  // namespace lockstep::test
