// Batch normalisation of images that are cut in height or width: what each part tells of its channels, and what is made
// of what all parts have told. split_norms puts these operators in BatchNormOp's place. Immutable: any thread.
#pragma once

#include "layers/activations/relu.h"
#include "layers/base/layer.h"

namespace lockstep {

/// Into how many parts images are cut.
struct ImageParts {
  int64_t rows = 1, columns = 1;
  bool operator==(const ImageParts&) const = default;
};

/// Inputs: x [N,H,W,C] and lane_state. Output: moments [2L,rows,columns,C] f32, a pixel a part of the images, cut as
/// `even_slices` does: of each lane first the means of the parts, then the sums of squared deviations from them, over
/// the lane's valid samples. Parts are told apart rather than added: means and squares can be merged without a
/// difference of large numbers (see BatchNormApplyOp), which sums of x and of its square would need.
/// A kernel works on one part.
class BatchNormMomentsOp final : public Op {
 public:
  explicit BatchNormMomentsOp(ImageParts parts) : parts(parts) {}
  std::string_view name() const override { return "batch_norm_moments"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Local local(const Part& part) const override;
  std::string attributes() const override;
  /// For the kernels' makers: throws Error where there are several.
  void expect_one_part() const;

  const ImageParts parts;
};

/// As BatchNormOp, of images [N,height,width,C] of which a kernel may see some rows and columns: mean and variance come
/// from the moments of all parts, merged as in Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for
/// computing sample variances", 1979. Inputs: x, gamma, beta, lane_state, moments, and residual where `add`.
class BatchNormApplyOp final : public Op {
 public:
  BatchNormApplyOp(float epsilon, FusedRelu relu, bool add, int64_t height, int64_t width)
      : epsilon(epsilon), relu(relu), add(add), height(height), width(width) {}
  std::string_view name() const override { return "batch_norm_apply"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  /// Also of x by way of the moments, to which none is handed on.
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  std::string attributes() const override;
  /// Pixels of each part, in the order of the moments.
  std::vector<int64_t> pixels_of(ImageParts parts) const;

  const float epsilon;
  const FusedRelu relu;
  const bool add;
  const int64_t height, width;
};

/// Inputs: x, y (only where `relu`: its mask is 0 < y < top), dy, mean, lane_state. Output: by lane the sums of dy,
/// after relu, and of its products with x - mean: [2L,1,1,C] f32, terms where images are cut.
class BatchNormGradSumsOp final : public Op {
 public:
  explicit BatchNormGradSumsOp(FusedRelu relu) : relu(relu) {}
  std::string_view name() const override { return "batch_norm_grad_sums"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  std::string attributes() const override { return relu.str(); }

  const FusedRelu relu;
};

/// As BatchNormGradOp, of images of `pixels` of which a kernel may see some. Inputs: x, y (only where `relu`), dy,
/// gamma, mean, inverse deviation, lane_state, and what BatchNormGradSumsOp sums over all parts.
class BatchNormGradApplyOp final : public Op {
 public:
  BatchNormGradApplyOp(FusedRelu relu, bool add, int64_t pixels) : relu(relu), add(add), pixels(pixels) {}
  std::string_view name() const override { return "batch_norm_grad_apply"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Reuse reuse() const override { return Reuse::in_place; }
  std::string attributes() const override;

  const FusedRelu relu;
  const bool add;
  const int64_t pixels;
};

}  // namespace lockstep
