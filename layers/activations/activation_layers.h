// The Keras-style layers that are activations. Immutable: any thread.
#pragma once

#include "layers/activations/activation.h"
#include "layers/base/check.h"

namespace lockstep {

/// A layer whose `curve` is all that it does.
template <class Derived>
class CurveLayer : public LayerOf<Derived> {
 public:
  Value build(Builder& builder, std::span<const Value> in) const override {
    return builder.add1("", std::make_shared<ActivationOp>(static_cast<const Derived&>(*this).curve()),
                        {in.begin(), in.end()});
  }
};

/// Keras' Activation: any activation by its name, as an argument of other layers. (In C++ `Activation` is the
/// argument.)
class ActivationLayer final : public LayerOf<ActivationLayer> {
 public:
  ActivationLayer() = default;
  explicit ActivationLayer(Activation activation) : activation(activation) {}
  std::string_view type() const override { return "Activation"; }
  std::string_view base_name() const override { return "activation"; }
  void describe(Fields& fields) override { fields.field("activation", activation, true); }
  Value build(Builder& builder, std::span<const Value> in) const override {
    return builder.activate(only_input(in), activation);
  }

  Activation activation = Activation::linear;
};

class Sigmoid final : public CurveLayer<Sigmoid> {
 public:
  std::string_view type() const override { return "Sigmoid"; }
  std::string_view base_name() const override { return "sigmoid"; }
  void describe(Fields&) override {}
  Curve curve() const { return {Curve::Kind::sigmoid}; }
};

class Tanh final : public CurveLayer<Tanh> {
 public:
  std::string_view type() const override { return "Tanh"; }
  std::string_view base_name() const override { return "tanh"; }
  void describe(Fields&) override {}
  Curve curve() const { return {Curve::Kind::tanh}; }
};

/// Also known as Swish.
class SiLU final : public CurveLayer<SiLU> {
 public:
  std::string_view type() const override { return "SiLU"; }
  std::string_view base_name() const override { return "silu"; }
  void describe(Fields&) override {}
  Curve curve() const { return {Curve::Kind::silu}; }
};
using Swish = SiLU;

class GELU final : public CurveLayer<GELU> {
 public:
  GELU() = default;
  explicit GELU(bool approximate) : approximate(approximate) {}
  std::string_view type() const override { return "GELU"; }
  std::string_view base_name() const override { return "gelu"; }
  void describe(Fields& fields) override { fields.field("approximate", approximate); }
  Curve curve() const { return {approximate ? Curve::Kind::gelu_tanh : Curve::Kind::gelu}; }

  bool approximate = false;  // by tanh
};

class ELU final : public CurveLayer<ELU> {
 public:
  ELU() = default;
  explicit ELU(float alpha) : alpha(alpha) {}
  std::string_view type() const override { return "ELU"; }
  std::string_view base_name() const override { return "elu"; }
  void describe(Fields& fields) override { fields.field("alpha", alpha); }
  Curve curve() const { return {.kind = Curve::Kind::elu, .slope = alpha}; }

  float alpha = 1;
};

class LeakyReLU final : public CurveLayer<LeakyReLU> {
 public:
  LeakyReLU() = default;
  explicit LeakyReLU(float negative_slope) : negative_slope(negative_slope) {}
  std::string_view type() const override { return "LeakyReLU"; }
  std::string_view base_name() const override { return "leaky_re_lu"; }
  void describe(Fields& fields) override { fields.field("negative_slope", negative_slope); }
  Curve curve() const { return {.kind = Curve::Kind::relu, .slope = negative_slope}; }

  float negative_slope = 0.3F;
};

class HardSigmoid final : public CurveLayer<HardSigmoid> {
 public:
  std::string_view type() const override { return "HardSigmoid"; }
  std::string_view base_name() const override { return "hard_sigmoid"; }
  void describe(Fields&) override {}
  Curve curve() const { return {Curve::Kind::hard_sigmoid}; }
};

/// Also known as HardSiLU.
class HardSwish final : public CurveLayer<HardSwish> {
 public:
  std::string_view type() const override { return "HardSwish"; }
  std::string_view base_name() const override { return "hard_swish"; }
  void describe(Fields&) override {}
  Curve curve() const { return {Curve::Kind::hard_silu}; }
};
using HardSiLU = HardSwish;

}  // namespace lockstep
