// The activations' formulas, once for all backends: y from x, and dy/dx from what the gradient keeps (see
// Curve::gradient_of_input). V is a float or a vector of them; Math<V> is the backend's:
//   logistic(x)   {1 / (1 + exp(-x)), 1 / (1 + exp(x))} as s and rest
//   normal(x)     the standard normal distribution and its density at x
//   tanh(x), expm1(x)
// `number - V{}` is the number in each place, -0 too. Plain data; any thread.
#pragma once

#include "core/error.h"
#include "layers/activations/activation.h"

namespace lockstep::formulas {

/// x, or the end of [low, high] that is nearer to it; NaN stays NaN.
template <class V>
constexpr V clamp(V x, float low, float high) {
  const V least = low - V{}, most = high - V{};
  const V above = x < least ? least : x;
  return above > most ? most : above;
}

struct Sigmoid {
  template <class Math, class V>
  constexpr V value(V x) const {
    return Math::logistic(x).s;
  }
  template <class Math, class V>
  constexpr V slope(V y) const {
    return y * (1.0F - y);
  }
};

struct Tanh {
  template <class Math, class V>
  constexpr V value(V x) const {
    return Math::tanh(x);
  }
  template <class Math, class V>
  constexpr V slope(V y) const {
    return 1.0F - y * y;
  }
};

struct Silu {
  template <class Math, class V>
  constexpr V value(V x) const {
    return x * Math::logistic(x).s;
  }
  template <class Math, class V>
  constexpr V slope(V x) const {
    const auto at = Math::logistic(x);
    return at.s + x * (at.s * at.rest);
  }
};

struct Gelu {
  template <class Math, class V>
  constexpr V value(V x) const {
    return x * Math::normal(x).distribution;
  }
  template <class Math, class V>
  constexpr V slope(V x) const {
    const auto at = Math::normal(x);
    return at.distribution + x * at.density;
  }
};

/// (1 + tanh(u)) / 2 is the logistic function of 2 u. What is far inside where that is 0 or 1 is bounded, so that no
/// power overflows.
struct GeluTanh {
  static constexpr float twice = 0x1.988454p+0F, cubic = 0.044715F, far = 30;  // 2 sqrt(2 / pi)

  template <class V>
  static constexpr V argument(V b) {
    return twice * (b + cubic * b * b * b);
  }
  template <class Math, class V>
  constexpr V value(V x) const {
    return x * Math::logistic(argument(clamp(x, -far, far))).s;
  }
  template <class Math, class V>
  constexpr V slope(V x) const {
    const V b = clamp(x, -far, far);
    const auto at = Math::logistic(argument(b));
    return at.s + x * (at.s * at.rest) * (twice * (1.0F + 3 * cubic * b * b));
  }
};

struct Elu {
  float alpha;
  template <class Math, class V>
  constexpr V value(V x) const {
    const V below = x < V{} ? x : V{};
    const V bent = alpha * Math::expm1(below);
    return x < V{} ? bent : x;
  }
  template <class Math, class V>
  constexpr V slope(V y) const {
    const V bent = y + alpha;
    return y > V{} ? 1.0F - V{} : bent;
  }
};

struct HardSigmoid {
  template <class Math, class V>
  constexpr V value(V x) const {
    return clamp(x + 3.0F, 0, 6) / 6.0F;
  }
  template <class Math, class V>
  constexpr V slope(V x) const {
    const V rises = x < 3.0F - V{} ? 1.0F / 6 - V{} : V{};
    return x > -3.0F - V{} ? rises : V{};
  }
};

struct HardSilu {
  template <class Math, class V>
  constexpr V value(V x) const {
    return x * (clamp(x + 3.0F, 0, 6) / 6.0F);
  }
  template <class Math, class V>
  constexpr V slope(V x) const {
    const V rises = (x + x + 3.0F) / 6.0F;
    const V right = x < 3.0F - V{} ? rises : 1.0F - V{};
    return x > -3.0F - V{} ? right : V{};
  }
};

struct Linear {
  float factor;
  template <class Math, class V>
  constexpr V value(V x) const {
    return factor * x;
  }
  template <class Math, class V>
  constexpr V slope(V) const {
    return factor - V{};
  }
};

struct Relu {
  float below, threshold, top;
  template <class Math, class V>
  constexpr V value(V x) const {
    const V most = top - V{}, bent = below * (x - threshold);
    const V above = most < x ? most : x;
    return x < threshold - V{} ? bent : above;
  }
  template <class Math, class V>
  constexpr V slope(V y) const {
    const V inside = y < top - V{} ? 1.0F - V{} : V{};
    return y > V{} ? inside : below - V{};
  }
};

/// Calls body with the formula of the curve.
template <class Body>
auto with_formula(const Curve& curve, Body body) {
  switch (curve.kind) {
    case Curve::Kind::sigmoid:
      return body(Sigmoid{});
    case Curve::Kind::tanh:
      return body(Tanh{});
    case Curve::Kind::silu:
      return body(Silu{});
    case Curve::Kind::gelu:
      return body(Gelu{});
    case Curve::Kind::gelu_tanh:
      return body(GeluTanh{});
    case Curve::Kind::elu:
      return body(Elu{curve.slope});
    case Curve::Kind::hard_sigmoid:
      return body(HardSigmoid{});
    case Curve::Kind::hard_silu:
      return body(HardSilu{});
    case Curve::Kind::linear:
      return body(Linear{curve.slope});
    case Curve::Kind::relu:
      return body(Relu{curve.slope, curve.threshold, curve.top});
  }
  throw Error("no formula of the activation {}", curve.str());
}

}  // namespace lockstep::formulas
