#include "layers/metrics/metric_ops.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/step_state.h"
#include "layers/cpu/kernels.h"
#include "layers/losses/loss_inputs.h"

namespace lockstep::cpu {

namespace {

/// Where a row's first maximum is.
int64_t place_of_top(const float* row, int64_t classes) { return std::max_element(row, row + classes) - row; }

/// The real rows of predictions whose values are numbers, with their targets. Indices outside the classes are the loss'
/// to refuse.
template <class Body>
void each_row(const Args& args, const Shape& shape, Body&& body) {
  const int64_t classes = shape[-1], rows = args.in[2].as<LaneState>()->valid * rows_of_sample(shape);
  const bool indices = args.in[1].type.dtype == DType::i32;
  for (int64_t n = 0; n < rows; ++n) {
    const float* row = args.in[0].as() + n * classes;
    if (std::any_of(row, row + classes, [](float x) { return std::isnan(x); })) continue;
    const int64_t target = indices ? args.in[1].as<int32_t>()[n] : place_of_top(args.in[1].as() + n * classes, classes);
    if (target >= 0 && target < classes) body(row, target);
  }
}

}  // namespace

Kernel make(const TopKOp& op, const Signature& signature) {
  return {.run = [shape = signature.in[0].shape, k = op.k](Stream&, const Args& args) {
    int64_t right = 0;
    each_row(args, shape, [&](const float* row, int64_t target) {
      int64_t before = 0;
      for (int64_t j = 0; j < shape[-1]; ++j) before += row[j] > row[target] || (row[j] == row[target] && j < target);
      right += before < k;
    });
    *args.out[0].as() = static_cast<float>(right);
  }};
}

Kernel make(const ConfusionOp& op, const Signature& signature) {
  const int64_t cells = signature.out[0].shape.elements();
  return {.workspace = static_cast<size_t>(cells) * sizeof(int64_t),
          .run = [shape = signature.in[0].shape, cells, binary = op.binary, threshold = op.threshold](
                     Stream&, const Args& args) {
            // Counted as whole numbers: a float stops at 2^24.
            auto* counts = reinterpret_cast<int64_t*>(args.workspace);
            std::fill(counts, counts + cells, 0);
            if (binary) {
              const float *x = args.in[0].as(), *t = args.in[1].as();
              const int64_t numbers = args.in[2].as<LaneState>()->valid * numbers_of_sample(shape);
              for (int64_t i = 0; i < numbers; ++i)
                if (!std::isnan(x[i])) ++counts[2 * (t[i] > 0.5F) + (x[i] > threshold)];
            } else {
              each_row(args, shape, [&](const float* row, int64_t target) {
                ++counts[target * shape[-1] + place_of_top(row, shape[-1])];
              });
            }
            std::transform(counts, counts + cells, args.out[0].as(), [](int64_t n) { return static_cast<float>(n); });
          }};
}

}  // namespace lockstep::cpu
