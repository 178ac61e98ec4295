// Networks generated from a seed: convolutions of any kernel, stride, dilation, padding and groups, both pools, batch
// norm, dropout, branches with addition and concatenation.
#pragma once

#include "core/random.h"
#include "layers/ops.h"

namespace lockstep::test {

class Dice {
 public:
  explicit Dice(uint64_t seed) : random_(seed, Purpose::initialise, 7) {}
  /// A number of [first, last].
  int64_t roll(int64_t first, int64_t last) {
    const uint32_t bits = random_.bits(0, count_++)[0];
    return first + static_cast<int64_t>(bits % static_cast<uint64_t>(last - first + 1));
  }
  bool coin() { return roll(0, 1) == 1; }
  template <class T>
  T one_of(std::initializer_list<T> choices) {
    return choices.begin()[roll(0, static_cast<int64_t>(choices.size()) - 1)];
  }

 private:
  Random random_;
  uint64_t count_ = 0;
};

/// A network for images of 17 to 33 rows and columns whose feature maps stay at least `smallest` high and wide, and its
/// channels at least 8. With `drops`, the same network with dropouts between its layers.
inline Network random_network(uint64_t seed, int64_t smallest, bool drops = false) {
  Dice dice(seed), drop_dice(seed + 1'000'000);
  std::array<int64_t, 2> size{dice.roll(17, 33), dice.roll(17, 33)};
  Symbol x = Input({size[0], size[1], dice.roll(1, 4)});
  int64_t channels = 0;
  const int64_t layers = dice.roll(3, 6);
  // What a batch norm takes away must not lie before it without a relu between: its gradient would be nothing but
  // rounding.
  const bool norms = dice.coin();
  for (int64_t i = 0; i < layers; ++i) {
    const int64_t groups = channels > 0 && channels % 4 == 0 ? dice.one_of<int64_t>({1, 1, 2, 4}) : 1;
    Size2 kernel{dice.roll(1, 7), dice.roll(1, 7)}, strides{dice.roll(1, 3), dice.roll(1, 3)}, dilation{1, 1};
    Padding padding = dice.coin() ? Padding::same : Padding::valid;
    const int64_t what = channels == 0 ? 0 : dice.roll(0, 5);
    if (what < 4 && dice.roll(0, 3) == 0) dilation = {dice.roll(1, 2), dice.roll(1, 2)};
    const auto after = [&](size_t d, Padding p) {
      const int64_t extent = (kernel[d] - 1) * dilation[d] + 1;
      const int64_t room = p == Padding::same ? size[d] + strides[d] - 1 : size[d] - extent + strides[d];
      return room < strides[d] ? 0 : room / strides[d];
    };
    for (size_t d = 0; d < 2; ++d) {
      if (after(d, padding) < smallest) padding = Padding::same;
      if (after(d, padding) < smallest) strides[d] = 1;
    }
    for (size_t d = 0; d < 2; ++d) size[d] = after(d, padding);
    const PoolOptions pool{.strides = strides, .padding = padding};
    if (what == 4) {
      x = MaxPooling2D(kernel, pool)(x);
    } else if (what == 5) {
      x = AveragePooling2D(kernel, pool)(x);
    } else {
      channels = dice.one_of<int64_t>({8, 12, 16});
      const bool norm = norms && dice.coin();
      const Activation activation = norms || dice.coin() ? Activation::relu : Activation::linear;
      x = Conv2D(channels, kernel,
                 {.strides = strides,
                  .padding = padding,
                  .activation = norm ? Activation::linear : activation,
                  .use_bias = !norm,
                  .groups = channels % groups == 0 ? groups : 1,
                  .dilation_rate = dilation})(x);
      if (norm) x = BatchNormalization()(x);
      if (norm && activation == Activation::relu) x = ReLU()(x);
    }
    if (what == 1) {
      const Symbol y = Conv2D(channels, {3, 3}, {.padding = Padding::same})(x);
      x = ReLU()(Add()({x, y}));
    } else if (what == 2) {
      const Symbol y = Conv2D(8, {1, 3}, {.padding = Padding::same, .activation = Activation::relu})(x);
      x = Concatenate()({x, y});
      channels += 8;
    }
    if (drops && drop_dice.coin()) x = Dropout(0.2F)(x);
  }
  x = dice.coin() ? GlobalAveragePooling2D()(x) : Flatten()(x);
  if (dice.coin()) x = Dropout(0.2F)(x);
  x = Dense(dice.roll(8, 16), {.activation = dice.coin() ? Activation::relu : Activation::linear})(x);
  return Network("random", Dense(10, {.activation = Activation::softmax})(x));
}

}  // namespace lockstep::test
