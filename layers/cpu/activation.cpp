#include "layers/activation.h"

#include "core/error.h"
#include "layers/cpu/kernels.h"
#include "layers/cpu/math.h"
#include "layers/cpu/parallel.h"

namespace lockstep::cpu {

namespace {

/// Each has y from x, and dy/dx from what the gradient keeps (see Curve::gradient_of_input).
struct Sigmoid {
  template <class V>
  V value(V x) const {
    return Logistic<V>(x).s;
  }
  template <class V>
  V slope(V y) const {
    return y * (broadcast<V>(1) - y);
  }
};

struct Tanh {
  template <class V>
  V value(V x) const {
    return hyperbolic_tangent(x);
  }
  template <class V>
  V slope(V y) const {
    return broadcast<V>(1) - y * y;
  }
};

struct Silu {
  template <class V>
  V value(V x) const {
    return x * Logistic<V>(x).s;
  }
  template <class V>
  V slope(V x) const {
    const Logistic<V> at(x);
    return at.s + x * (at.s * at.rest);
  }
};

struct Gelu {
  template <class V>
  V value(V x) const {
    return x * Normal<V>(x).distribution;
  }
  template <class V>
  V slope(V x) const {
    const Normal<V> at(x);
    return at.distribution + x * at.density;
  }
};

/// (1 + tanh(u)) / 2 is the logistic function of 2 u.
struct GeluTanh {
  static constexpr float twice = 0x1.988454p+0F, cubic = 0.044715F;  // 2 sqrt(2 / pi)

  /// Far inside what makes the logistic function 0 or 1, so that no power overflows.
  template <class V>
  static V bounded(V x) {
    const V far = broadcast<V>(30);
    const V low = x < -far ? -far : x;
    return low > far ? far : low;
  }
  template <class V>
  static V argument(V b) {
    return broadcast<V>(twice) * (b + broadcast<V>(cubic) * b * b * b);
  }
  template <class V>
  V value(V x) const {
    return x * Logistic<V>(argument(bounded(x))).s;
  }
  template <class V>
  V slope(V x) const {
    const V b = bounded(x);
    const Logistic<V> at(argument(b));
    const V inner = broadcast<V>(twice) * (broadcast<V>(1) + broadcast<V>(3 * cubic) * b * b);
    return at.s + x * (at.s * at.rest) * inner;
  }
};

struct Elu {
  float alpha;
  template <class V>
  V value(V x) const {
    const V zero = broadcast<V>(0), below = x < zero ? x : zero;
    const V bent = broadcast<V>(alpha) * exponential_minus_1(below);
    return x < zero ? bent : x;
  }
  template <class V>
  V slope(V y) const {
    return y > broadcast<V>(0) ? broadcast<V>(1) : y + broadcast<V>(alpha);
  }
};

template <class V>
V ramp(V x) {
  const V zero = broadcast<V>(0), six = broadcast<V>(6), shifted = x + broadcast<V>(3);
  const V low = shifted < zero ? zero : shifted;
  return low > six ? six : low;
}

struct HardSigmoid {
  template <class V>
  V value(V x) const {
    return ramp(x) / broadcast<V>(6);
  }
  template <class V>
  V slope(V x) const {
    const V zero = broadcast<V>(0);
    const V rises = x < broadcast<V>(3) ? broadcast<V>(1.0F / 6) : zero;
    return x > broadcast<V>(-3) ? rises : zero;
  }
};

struct HardSilu {
  template <class V>
  V value(V x) const {
    return x * (ramp(x) / broadcast<V>(6));
  }
  template <class V>
  V slope(V x) const {
    const V rises = (x + x + broadcast<V>(3)) / broadcast<V>(6);
    const V right = x < broadcast<V>(3) ? rises : broadcast<V>(1);
    return x > broadcast<V>(-3) ? right : broadcast<V>(0);
  }
};

struct Linear {
  float factor;
  template <class V>
  V value(V x) const {
    return broadcast<V>(factor) * x;
  }
  template <class V>
  V slope(V) const {
    return broadcast<V>(factor);
  }
};

struct Relu {
  float below, threshold, top;
  template <class V>
  V value(V x) const {
    const V cut = broadcast<V>(threshold), most = broadcast<V>(top);
    const V above = most < x ? most : x;
    return x < cut ? broadcast<V>(below) * (x - cut) : above;
  }
  template <class V>
  V slope(V y) const {
    const V inside = y < broadcast<V>(top) ? broadcast<V>(1) : broadcast<V>(0);
    return y > broadcast<V>(0) ? inside : broadcast<V>(below);
  }
};

/// Calls body with the function that the curve is.
template <class Body>
Kernel with_function(const Curve& curve, Body body) {
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
  throw Error("no kernel for the activation {}", curve.str());
}

/// What one element counts for in parallel_for: an exponential takes as long as moving some 32 bytes.
constexpr int64_t bytes_per_element = 32;

}  // namespace

Kernel make(const ActivationOp& op, const Signature& signature) {
  return with_function(op.curve, [n = signature.in[0].shape.elements()](auto function) -> Kernel {
    return {.run = [=](Stream&, const Args& args) {
      const float* x = args.in[0].as();
      float* y = args.out[0].as();
      parallel_for(n, bytes_per_element, [=](int64_t begin, int64_t end) {
        for_each_vec(end - begin,
                     [=]<class V>(V, int64_t i) { store(y + begin + i, function.value(load<V>(x + begin + i))); });
      });
    }};
  });
}

Kernel make(const ActivationGradOp& op, const Signature& signature) {
  return with_function(op.curve, [n = signature.in[0].shape.elements()](auto function) -> Kernel {
    return {.run = [=](Stream&, const Args& args) {
      const float* kept = args.in[0].as();
      const float* dy = args.in[1].as();
      float* dx = args.out[0].as();
      parallel_for(n, bytes_per_element, [=](int64_t begin, int64_t end) {
        for_each_vec(end - begin, [=]<class V>(V, int64_t i) {
          store(dx + begin + i, load<V>(dy + begin + i) * function.slope(load<V>(kept + begin + i)));
        });
      });
    }};
  });
}

}  // namespace lockstep::cpu
