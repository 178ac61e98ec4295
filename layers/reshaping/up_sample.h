// Larger images, by repeating pixels or between them in straight lines, with the gradient and the Keras-style layer.
// Immutable: any thread.
#pragma once

#include <array>

#include "layers/base/layer.h"

namespace lockstep {

/// One direction: `factor` outputs for each of `length` inputs, of which a rank may see and make a part.
struct Enlargement {
  int64_t factor = 1, length = 0;
  Interval in, out;  // of the whole direction
};

/// y[N,P,Q,C] from x [N,H,W,C]. `nearest` repeats each pixel; `bilinear` takes output i from input (i + 0.5) / factor -
/// 0.5, between the two pixels there, and the outermost pixel beyond the border, as Keras and (without align_corners)
/// PyTorch do.
class UpSampleOp final : public Op {
 public:
  UpSampleOp(std::array<Enlargement, 2> size, Interpolation interpolation) : size(size), interpolation(interpolation) {}
  std::string_view name() const override { return "up_sample"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Interval needs(int dim, Interval seen, int64_t size) const override;
  Local local(const Part& part) const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  std::string attributes() const override;

  const std::array<Enlargement, 2> size;
  const Interpolation interpolation;
};

/// dx from dy: each input takes the share that it gave of every output, in ascending order of these.
class UpSampleGradOp final : public Op {
 public:
  UpSampleGradOp(std::array<Enlargement, 2> size, Interpolation interpolation)
      : size(size), interpolation(interpolation) {}
  std::string_view name() const override { return "up_sample_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Interval needs(int dim, Interval seen, int64_t size) const override;
  Local local(const Part& part) const override;
  std::string attributes() const override;

  const std::array<Enlargement, 2> size;
  const Interpolation interpolation;
};

struct UpSampling2DOptions {
  Interpolation interpolation = Interpolation::nearest;
};

/// Keras' UpSampling2D: `size` times as many rows and columns.
class UpSampling2D final : public LayerOf<UpSampling2D> {
 public:
  explicit UpSampling2D(Size2 size = {2, 2}, UpSampling2DOptions options = {}) : size(size), options(options) {}
  std::string_view type() const override { return "UpSampling2D"; }
  std::string_view base_name() const override { return "up_sampling2d"; }
  void describe(Fields& fields) override;
  Value build(Builder& builder, std::span<const Value> in) const override;

  Size2 size;
  UpSampling2DOptions options;
};

}  // namespace lockstep
