// Networks of every layer, with random options, and how they are trained, from a seed: for comparing many ways to train
// one network. What a seed gives stays the same while this file does.
#pragma once

#include <fmt/format.h>

#include "core/error.h"
#include "launch/plan/step.h"
#include "tests/launch/plan/random_network.h"

namespace lockstep::test {

/// Draws layers one after the other. A draw that the layer refuses, or that makes images too large or too small, is
/// drawn again.
class RandomLayers {
 public:
  explicit RandomLayers(uint64_t seed) : dice_(seed) {}

  /// Images keep `smallest` rows and columns or more; ends in `outputs` numbers.
  Network network(int64_t smallest, int64_t outputs = 10, Activation end = Activation::softmax) {
    Symbol x = Input({dice_.roll(smallest, 14), dice_.roll(smallest, 14), dice_.roll(1, 4)});  // in this order
    penalises_ = dice_.roll(0, 3) == 0;
    for (int64_t layers = dice_.roll(2, 6); layers > 0; --layers)
      x = fitting([&] { return image_layer(x); },
                  [&](const Shape& s) {
                    return s.rank() == 3 && std::min(s[0], s[1]) >= smallest && std::max(s[0], s[1]) <= 30 &&
                           s[2] <= 24 && s.elements() <= 9000;
                  });
    x = fitting([&] { return features(x); }, [](const Shape& s) { return s.rank() == 1; });
    for (int64_t layers = dice_.roll(0, 2); layers > 0; --layers)
      x = fitting([&] { return feature_layer(x); }, [](const Shape& s) { return s.rank() == 1; });
    return Network("drawn", Dense(outputs, {.activation = end, .kernel_regularizer = penalty()})(x));
  }

  Dice& dice() { return dice_; }

 private:
  template <class Make, class Fits>
  static Symbol fitting(Make make, Fits fits) {
    for (;;) {
      try {
        const Symbol y = make();
        if (fits(Network("so far", y).output_shape())) return y;
      } catch (const InputError&) {
        continue;  // not a layer for these images
      }
    }
  }
  static Shape shape_of(const Symbol& x) { return Network("so far", x).output_shape(); }

  Regularizer penalty() { return penalises_ && dice_.coin() ? L1L2(1e-4F, 1e-3F) : Regularizer{}; }
  Size2 size(int64_t most) { return {dice_.roll(1, most), dice_.roll(1, most)}; }
  Size2 strides() { return dice_.coin() ? Size2{1, 1} : size(3); }
  Size2 dilation(const Size2& strides) {
    return strides == Size2{1, 1} && dice_.roll(0, 3) == 0 ? size(3) : Size2{1, 1};
  }
  Padding padding(const Size2& kernel) {
    switch (dice_.roll(0, 3)) {
      case 0:
        return Padding::valid;
      case 1: {
        const auto side = [&](size_t d) { return Size2{dice_.roll(0, kernel[d] - 1), dice_.roll(0, kernel[d] - 1)}; };
        const Size2 rows = side(0), columns = side(1);
        return {rows, columns};
      }
      default:
        return Padding::same;
    }
  }
  int64_t divisor(int64_t n) {
    int64_t of = dice_.roll(1, n);
    while (n % of != 0) --of;
    return of;
  }
  /// Smooth ones mostly: rounding moves others' inputs over their kinks now and then.
  Activation activation() {
    return dice_.one_of({Activation::linear, Activation::linear, Activation::tanh, Activation::silu, Activation::gelu,
                         Activation::elu, Activation::sigmoid, Activation::relu, Activation::leaky_relu,
                         Activation::hard_sigmoid, Activation::hard_silu});
  }

  Symbol convolution(const Symbol& x, const Shape& s) {
    const Size2 kernel = size(5), by = strides();
    const int64_t filters = dice_.roll(1, 17);
    int64_t groups = 1;
    if (dice_.roll(0, 2) == 0) groups = divisor(s[2]);
    return Conv2D((filters + groups - 1) / groups * groups, kernel,
                  {.strides = by,
                   .padding = padding(kernel),
                   .activation = activation(),
                   .use_bias = dice_.coin(),
                   .groups = groups,
                   .dilation_rate = dilation(by),
                   .kernel_regularizer = penalty(),
                   .bias_regularizer = penalty()})(x);
  }

  Symbol other_convolution(const Symbol& x) {
    const Size2 kernel = size(5), by = strides();
    const DepthwiseConv2DOptions depthwise{.strides = by,
                                           .padding = padding(kernel),
                                           .depth_multiplier = dice_.roll(1, 2),
                                           .activation = activation(),
                                           .use_bias = dice_.coin(),
                                           .dilation_rate = dilation(by)};
    switch (dice_.roll(0, 2)) {
      case 0:
        return DepthwiseConv2D(kernel, depthwise)(x);
      case 1:
        return SeparableConv2D(dice_.roll(1, 13), kernel, depthwise)(x);
      default: {
        const Size2 output = dice_.coin() ? Size2{-1, -1} : Size2{dice_.roll(0, by[0] - 1), dice_.roll(0, by[1] - 1)};
        const int64_t filters = dice_.roll(1, 9);
        return Conv2DTranspose(filters, kernel,
                               {.strides = by,
                                .padding = padding(kernel),
                                .output_padding = output,
                                .activation = activation(),
                                .use_bias = dice_.coin()})(x);
      }
    }
  }

  /// Of what is normalised over one value nothing is left.
  Symbol norm(const Symbol& x, int64_t channels) {
    switch (channels == 1 ? 0 : dice_.roll(0, 4)) {
      case 0:
        return BatchNormalization()(x);
      case 1:
        return LayerNormalization()(x);
      default: {
        const int64_t groups = dice_.roll(0, 4) == 0 ? -1 : divisor(channels);
        if (shape_of(x).elements() == channels && (groups == -1 || groups == channels)) return LayerNormalization()(x);
        return GroupNormalization(groups)(x);
      }
    }
  }

  Symbol curve(const Symbol& x, int axes) {
    switch (dice_.roll(0, 8)) {
      case 0:
        return ReLU({.max_value = 1.5F, .negative_slope = 0.1F})(x);
      case 1:
        return LeakyReLU()(x);
      case 2:
        return ELU(0.5F)(x);
      case 3:
        return GELU(dice_.coin())(x);
      case 4:
        if (shape_of(x)[axes] > 1) return Softmax()(x);  // of one value it is 1
        [[fallthrough]];
      case 5:
        return HardSwish()(x);
      case 6:
      case 7: {
        std::vector<int64_t> shared;
        for (int64_t n = dice_.roll(0, axes); n > 0; --n) shared.push_back(static_cast<int64_t>(shared.size()) + 1);
        return PReLU(shared)(x);
      }
      default:
        return ActivationLayer(activation())(x);
    }
  }

  Symbol resized(const Symbol& x) {
    if (dice_.coin()) {
      const Size2 by = size(3);
      return UpSampling2D(by, {dice_.coin() ? Interpolation::nearest : Interpolation::bilinear})(x);
    }
    const auto side = [&] { return dice_.one_of<int64_t>({0, 0, 1, 2, 9}); };
    const Size2 rows{side(), side()}, columns{side(), side()};
    return ZeroPadding2D({rows, columns})(x);
  }

  Symbol pooled(const Symbol& x) {
    const Size2 kernel = size(4), by = dice_.coin() ? kernel : size(3);
    const PoolOptions options{.strides = by, .padding = padding(kernel)};
    return dice_.coin() ? MaxPooling2D(kernel, options)(x) : AveragePooling2D(kernel, options)(x);
  }

  /// The same elements in another order, or by other dimensions.
  Symbol arranged(const Symbol& x, const Shape& s) {
    if (dice_.coin())
      return Permute(dice_.one_of<std::vector<int64_t>>({{2, 1, 3}, {1, 3, 2}, {3, 2, 1}, {2, 3, 1}}))(x);
    if (dice_.coin()) return Reshape({s[1], s[0], s[2]})(x);
    const int64_t channels = divisor(s.elements() / s[0]);
    return Reshape({s[0], -1, channels})(x);
  }

  Symbol merged(const Symbol& x, const Shape& s) {
    const auto same = [&](int64_t filters) {
      const Size2 kernel = size(3);
      return Conv2D(filters, kernel, {.padding = Padding::same, .activation = activation()})(x);
    };
    std::vector<Symbol> in{x, same(s[2])};
    if (dice_.roll(0, 2) == 0) in.push_back(curve(x, 2));
    switch (dice_.roll(0, 7)) {
      case 0:
        return Add()(in);
      case 1:
        return Subtract()({in[0], in[1]});
      case 2:
        return Average()(in);
      case 3:
        return Multiply()({in[0], in[1]});
      case 4:
        return Maximum()(in);
      case 5:
        return Minimum()(in);
      case 6: {
        Symbol gate = Reshape({1, 1, s[2]})(GlobalAveragePooling2D()(x));
        gate = Conv2D(dice_.roll(1, 5), {1, 1}, {.activation = Activation::silu})(gate);
        gate = Conv2D(s[2], {1, 1}, {.activation = Activation::sigmoid})(dice_.coin() ? gate : norm(gate, 1));
        return Multiply()({x, gate});
      }
      default:
        in[1] = same(dice_.roll(1, 5));
        return Concatenate()(in);
    }
  }

  Symbol image_layer(const Symbol& x) {
    const Shape s = shape_of(x);
    switch (dice_.roll(0, 13)) {
      case 0:
      case 1:
      case 2:
        return convolution(x, s);
      case 3:
      case 4:
        return other_convolution(x);
      case 5:
      case 6:
        return norm(x, s[2]);
      case 7:
        return curve(x, 2);
      case 8:
        return resized(x);
      case 9:
        return pooled(x);
      case 10:
        return dice_.coin() ? Dropout(0.3F)(x) : SpatialDropout2D(0.3F)(x);
      case 11:
        return arranged(x, s);
      default:
        return merged(x, s);
    }
  }

  Symbol features(const Symbol& x) {
    switch (dice_.roll(0, 2)) {
      case 0:
        return GlobalMaxPooling2D()(x);
      case 1:
        return GlobalAveragePooling2D()(x);
      default:
        return Flatten()(x);
    }
  }

  Symbol feature_layer(const Symbol& x) {
    switch (dice_.roll(0, 3)) {
      case 0:
        return norm(x, shape_of(x)[0]);
      case 1:
        return curve(x, 0);
      default: {
        const int64_t units = dice_.roll(1, 17);
        return Dense(units, {.activation = activation(), .use_bias = dice_.coin(), .kernel_regularizer = penalty()})(x);
      }
    }
  }

  Dice dice_;
  bool penalises_ = false;
};

/// What is around an optimizer: none of it half the time.
inline CommonOptions random_common(Dice& dice) {
  CommonOptions common;
  switch (dice.roll(0, 5)) {
    case 0:
      common.clipvalue = 0.01F;
      break;
    case 1:
      common.clipnorm = 0.05F;
      break;
    case 2:
      common.global_clipnorm = 0.1F;
      break;
    default:
      break;
  }
  if (dice.roll(0, 3) == 0) {
    common.lookahead_steps = 2;
    common.lookahead_alpha = 0.4F;
  }
  common.use_ema = dice.roll(0, 3) == 0;
  if (dice.roll(0, 3) == 0) common.exclude_bias_and_norm = dice.coin();
  return common;
}

}  // namespace lockstep::test
