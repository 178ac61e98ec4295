// The fully connected layer: the operator with its two gradients, and the Keras-style layer. Immutable: any thread.
#pragma once

#include "layers/base/layer.h"

namespace lockstep {

/// y[N,K] = x[N,F] w[K,F]^T (+ b[K]); with `relu`, max(y, 0). Inputs: x, w, and b where `bias`. y has the type of x; w
/// and b are f32.
class DenseOp final : public Op {
 public:
  DenseOp(bool bias, bool relu) : bias(bias), relu(relu) {}
  std::string_view name() const override { return "dense"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Local local(const Part& part) const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  std::string attributes() const override;
  double flops(const Signature& s) const override { return product_flops(s.in[1], s.out[0]); }

  const bool bias, relu;
};

/// dx[N,F], of dy's type, from (w[K,F], dy[N,K]).
class DenseDataGradOp final : public Op {
 public:
  std::string_view name() const override { return "dense_data_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  double flops(const Signature& s) const override { return product_flops(s.in[0], s.in[1]); }
  std::vector<Rule> rules() const override;
};

/// dw[K,F] (and db[K] where `bias`), f32, from (x[N,F], dy[N,K]), of one type: sums over the batch.
class DenseWeightGradOp final : public Op {
 public:
  explicit DenseWeightGradOp(bool bias) : bias(bias) {}
  std::string_view name() const override { return "dense_weight_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  double flops(const Signature& s) const override { return product_flops(s.out[0], s.in[1]); }

  const bool bias;
};

struct DenseOptions {
  Activation activation = Activation::linear;
  bool use_bias = true;
  Regularizer kernel_regularizer = {}, bias_regularizer = {};
};

/// Variables: kernel [units, F] (Glorot uniform), bias [units] (zeros). Keras keeps the transposed kernel.
class Dense final : public LayerOf<Dense> {
 public:
  Dense() = default;
  explicit Dense(int64_t units, DenseOptions options = {}) : units(units), options(options) {}
  std::string_view type() const override { return "Dense"; }
  std::string_view base_name() const override { return "dense"; }
  void describe(Fields& fields) override;
  Value build(Builder& builder, std::span<const Value> in) const override;

  int64_t units = 0;
  DenseOptions options;
};

}  // namespace lockstep
