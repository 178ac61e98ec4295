#include "layers/linear/dense.h"

#include "core/cuda/streams.h"
#include "core/error.h"
#include "core/plan/memory.h"
#include "layers/cuda/column_sum.h"
#include "layers/cuda/context.h"
#include "layers/cuda/linear/weights.h"

namespace lockstep::cuda {

namespace {

using Description = Handle<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Handle<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Handle<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

cudaDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return CUDA_R_32F;
    case DType::f16:
      return CUDA_R_16F;
    case DType::bf16:
      return CUDA_R_16BF;
    default:
      throw Error("no matrix product of {}", name_of(dtype));
  }
}

/// c [m, n] = a b, where a is [m, k] or, transposed, [k, m], and b is [k, n] or, transposed, [n, k]. All in row order.
struct Product {
  const char* name;
  int64_t m, n, k;
  bool transposed_a, transposed_b;
  DType in, out;

  std::string str() const { return fmt::format("{} {}x{}x{} {} -> {}", name, m, n, k, name_of(in), name_of(out)); }
};

Layout layout(DType dtype, int64_t rows, int64_t columns) {
  cublasLtMatrixLayout_t made = nullptr;
  // cuBLAS counts along columns: to it, a matrix in row order is its own transpose.
  check(cublasLtMatrixLayoutCreate(&made, type_of(dtype), static_cast<uint64_t>(columns), static_cast<uint64_t>(rows),
                                   columns),
        "cublasLtMatrixLayoutCreate");
  return Layout(made);
}

/// The product with its algorithm, chosen once.
class Matmul {
 public:
  Matmul(const SharedContext& context, const Product& product)
      : context_(context),
        a_(layout(product.in, product.transposed_a ? product.k : product.m,
                  product.transposed_a ? product.m : product.k)),
        b_(layout(product.in, product.transposed_b ? product.n : product.k,
                  product.transposed_b ? product.k : product.n)),
        c_(layout(product.out, product.m, product.n)) {
    const bool tf32 = product.in == DType::f32 && context->options.tf32;
    cublasLtMatmulDesc_t made = nullptr;
    check(cublasLtMatmulDescCreate(&made, tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F),
          "cublasLtMatmulDescCreate");
    description_ = Description(made);
    // c^T = b^T a^T: cuBLAS' first operand is our b.
    const cublasOperation_t first = product.transposed_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t second = product.transposed_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    set(CUBLASLT_MATMUL_DESC_TRANSA, first);
    set(CUBLASLT_MATMUL_DESC_TRANSB, second);
    choose(product.str() + (tf32 ? " tf32" : ""));
  }

  size_t workspace() const { return workspace_; }

  void run(Stream& stream, const void* a, const void* b, void* c, std::byte* workspace) const {
    const float one = 1, zero = 0;
    check(cublasLtMatmul(context_->cublas.get(), description_.get(), &one, b, b_.get(), a, a_.get(), &zero, c, c_.get(),
                         c, c_.get(), &algorithm_, workspace, workspace_, native(stream)),
          "cublasLtMatmul");
  }

 private:
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    check(cublasLtMatmulDescSetAttribute(description_.get(), attribute, &value, sizeof value),
          "cublasLtMatmulDescSetAttribute");
  }

  static std::string text_of(const cublasLtMatmulAlgo_t& algorithm) {
    std::string text;
    for (uint64_t word : algorithm.data) text += fmt::format("{:016x}", word);
    return text;
  }

  void choose(const std::string& key) {
    constexpr size_t most_workspace = size_t{32} << 20;
    cublasLtMatmulPreference_t made = nullptr;
    check(cublasLtMatmulPreferenceCreate(&made), "cublasLtMatmulPreferenceCreate");
    const Preference preference(made);
    check(cublasLtMatmulPreferenceSetAttribute(made, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most_workspace,
                                               sizeof most_workspace),
          "cublasLtMatmulPreferenceSetAttribute");
    if (context_->options.deterministic) {
      // Parts of a sum are added in the workspace and in 32 bits, if at all.
      const uint32_t ordered = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
      check(cublasLtMatmulPreferenceSetAttribute(made, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &ordered,
                                                 sizeof ordered),
            "cublasLtMatmulPreferenceSetAttribute");
    }
    constexpr int most = 32;
    std::array<cublasLtMatmulHeuristicResult_t, most> found{};
    int count = 0;
    check(cublasLtMatmulAlgoGetHeuristic(context_->cublas.get(), description_.get(), b_.get(), a_.get(), c_.get(),
                                         c_.get(), made, most, found.data(), &count),
          "cublasLtMatmulAlgoGetHeuristic");
    const std::string recorded = context_->engines->find(key);
    for (int i = 0; i < count; ++i) {
      const auto& result = found[static_cast<size_t>(i)];
      if (result.state != CUBLAS_STATUS_SUCCESS) continue;
      if (!recorded.empty() && text_of(result.algo) != recorded) continue;
      algorithm_ = result.algo;
      workspace_ = result.workspaceSize;
      context_->engines->keep(key, text_of(algorithm_));
      return;
    }
    if (!recorded.empty())
      throw InputError("'{}' was computed by algorithm {}, which this cuBLAS ({}) does not offer here", key, recorded,
                       cublas_version());
    throw InputError("cuBLAS has no algorithm for {}", key);
  }

  SharedContext context_;
  Layout a_, b_, c_;
  Description description_;
  cublasLtMatmulAlgo_t algorithm_{};
  size_t workspace_ = 0;
};

}  // namespace

Kernel make(const DenseOp& op, const Signature& signature, const SharedContext& context) {
  const Type &x = signature.in[0], &w = signature.in[1];
  const int64_t rows = x.shape[0], units = w.shape[0];
  const auto product =
      std::make_shared<Matmul>(context, Product{"dense", rows, units, x.shape[1], false, true, x.dtype, x.dtype});
  Kernel kernel{.workspace = product->workspace()};
  pack_weights(kernel, 1, x.dtype, w.shape.elements());
  kernel.run = [=, with_bias = op.bias, with_relu = op.relu, dtype = x.dtype](Stream& stream, const Args& args) {
    product->run(stream, args.in[0].data, packed_weights(args, 1, dtype), args.out[0].data, args.workspace);
    // Bias and relu in one pass of our own: relu must keep NaN.
    add_bias(stream, dtype, args.out[0].data, with_bias ? args.in[2].as() : nullptr, rows, units, with_relu);
  };
  return kernel;
}

Kernel make(const DenseDataGradOp&, const Signature& signature, const SharedContext& context) {
  const Type &w = signature.in[0], &dy = signature.in[1];
  const auto product = std::make_shared<Matmul>(
      context, Product{"dense_data_grad", dy.shape[0], w.shape[1], w.shape[0], false, false, dy.dtype, dy.dtype});
  Kernel kernel{.workspace = product->workspace()};
  pack_weights(kernel, 0, dy.dtype, w.shape.elements());
  kernel.run = [=, dtype = dy.dtype](Stream& stream, const Args& args) {
    product->run(stream, args.in[1].data, packed_weights(args, 0, dtype), args.out[0].data, args.workspace);
  };
  return kernel;
}

Kernel make(const DenseWeightGradOp& op, const Signature& signature, const SharedContext& context) {
  const Type &x = signature.in[0], &dy = signature.in[1];
  const int64_t rows = x.shape[0], units = dy.shape[1];
  const auto product = std::make_shared<Matmul>(
      context, Product{"dense_weight_grad", units, x.shape[1], rows, true, false, x.dtype, DType::f32});
  const size_t sum_at = aligned(product->workspace());
  Kernel kernel{.workspace = sum_at + (op.bias ? column_sum_workspace(rows, units) : 0)};
  kernel.run = [=, with_bias = op.bias, dtype = dy.dtype](Stream& stream, const Args& args) {
    product->run(stream, args.in[1].data, args.in[0].data, args.out[0].data, args.workspace);
    if (with_bias) column_sum(stream, dtype, args.in[1].data, rows, units, args.out[1].as(), args.workspace + sum_at);
  };
  return kernel;
}

}  // namespace lockstep::cuda
