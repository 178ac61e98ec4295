// One convolution, or one of its gradients, as cuDNN's graph interface computes it. From the rank's thread.
#pragma once

#include <memory>

#include "layers/cuda/context.h"

namespace lockstep::cuda {

struct ConvolutionSpec {
  enum class Pass : unsigned char { forward, data_grad, weight_grad };
  Pass pass = Pass::forward;
  Shape x, w, y;               // [N,H,W,C], [K,R,S,C/groups], [N,P,Q,K]
  DType images = DType::f32;   // of x and y, and of their gradients
  DType weights = DType::f32;  // of w, or of its gradient
  std::array<int64_t, 2> stride{}, pad_before{}, pad_after{}, dilation{1, 1};
  bool bias = false;  // f32[K], added in the forward pass
  /// "conv2d forward f16[32, 56, 56, 64] …": names the choice of an engine.
  std::string str() const;
};

class Convolution {
 public:
  /// Chooses an engine as the context's options say; none, and `why`, where cuDNN has no engine for it.
  /// Throws InputError where the engine that the context's choices name is not there.
  static std::shared_ptr<Convolution> make(const SharedContext& context, const ConvolutionSpec& spec, std::string& why);
  virtual ~Convolution() = default;

  virtual size_t workspace() const = 0;
  /// x, w, y or their gradients, by place; the pass says which of them is written. `bias` is read where the spec has
  /// one.
  virtual void run(Stream& stream, const std::byte* x, const std::byte* w, const std::byte* y, const std::byte* bias,
                   std::byte* workspace) = 0;
};

}  // namespace lockstep::cuda
