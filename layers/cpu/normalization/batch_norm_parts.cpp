#include "layers/normalization/batch_norm_parts.h"

#include "layers/cpu/kernels.h"
#include "layers/cpu/normalization/batch_norm.h"

namespace lockstep::cpu {

using namespace norm;

Kernel make(const BatchNormMomentsOp& op, const Signature& signature) {
  const Rows rows(signature.in[0], signature.in[1].shape[0]);
  op.expect_one_part();
  return {.workspace = rows.workspace(0), .run = [rows](Stream&, const Args& args) {
            float *const means = args.out[0].as(), *const all_squares = means + rows.channels;
            moments(rows, rows.valid(args, 1), args.in[0].as(), reinterpret_cast<float*>(args.workspace),
                    [=](int64_t c, double mean, double squares) {
                      means[c] = static_cast<float>(mean);
                      all_squares[c] = static_cast<float>(squares);
                    });
          }};
}

Kernel make(const BatchNormApplyOp& op, const Signature& signature) {
  const Rows rows(signature.in[0], signature.in[3].shape[0]);
  const std::vector<int64_t> pixels = op.pixels_of({signature.in[4].shape[1], signature.in[4].shape[2]});
  return {.workspace = rows.workspace(1),
          .run = [rows, pixels, all = op.height * op.width, epsilon = op.epsilon, relu = op.relu, add = op.add](
                     Stream&, const Args& args) {
            const float *means = args.in[4].as(), *all_squares = means + std::ssize(pixels) * rows.channels;
            const int64_t samples = args.in[3].as<LaneState>()->valid;
            const Statistics to(args, rows.kept(reinterpret_cast<float*>(args.workspace)), epsilon, samples * all);
            for (int64_t c = 0; c < rows.channels; ++c) {
              double mean = 0, squares = 0;
              const auto each_part = [&](auto body) {
                for (size_t part = 0; part < pixels.size(); ++part) {
                  const int64_t at = static_cast<int64_t>(part) * rows.channels + c;
                  body(0, static_cast<double>(samples * pixels[part]), double{means[at]}, double{all_squares[at]});
                }
              };
              merge_moments(1, samples * all, each_part, &mean, &squares);
              to.keep(c, mean, squares);
            }
            apply(rows, rows.valid(args, 3),
                  {args.in[0].as(), add ? args.in[5].as() : nullptr, args.out[0].as(), to.mean, to.scale,
                   args.in[2].as(), relu});
          }};
}

Kernel make(const BatchNormGradSumsOp& op, const Signature& signature) {
  const size_t after_y = op.relu ? 2 : 1;
  const Rows rows(signature.in[0], signature.in[after_y + 2].shape[0]);
  return {.workspace = rows.workspace(0), .run = [rows, after_y, relu = op.relu](Stream&, const Args& args) {
            const Gradient a{args.in[0].as(), args.in[after_y - 1].as(), args.in[after_y].as(),
                             args.in[after_y + 1].as(), relu.top};
            float* const out = args.out[0].as();
            with_flags(relu, false, [&](auto masked, auto) {
              gradient_sums<masked.value>(
                  rows, rows.valid(args, after_y + 2), a, reinterpret_cast<float*>(args.workspace),
                  [](int64_t, auto) {},
                  [=, &rows](int64_t c, double g, double g_deviation) {
                    out[c] = static_cast<float>(g);
                    out[rows.channels + c] = static_cast<float>(g_deviation);
                  });
            });
          }};
}

Kernel make(const BatchNormGradApplyOp& op, const Signature& signature) {
  const size_t after_y = op.relu ? 2 : 1;
  const Rows rows(signature.in[0], signature.in[after_y + 4].shape[0]);
  return {.workspace = rows.workspace(3),
          .run = [rows, after_y, pixels = op.pixels, relu = op.relu, add = op.add](Stream&, const Args& args) {
            const Gradient a{args.in[0].as(), args.in[after_y - 1].as(), args.in[after_y].as(),
                             args.in[after_y + 2].as(), relu.top};
            float *dx = args.out[0].as(), *const dresidual = add ? args.out[3].as() : nullptr;
            const float* sums = args.in[after_y + 5].as();
            const Slopes by(rows, rows.kept(reinterpret_cast<float*>(args.workspace)), args, after_y + 1,
                            args.in[after_y + 4].as<LaneState>()->valid * pixels);
            for (int64_t c = 0; c < rows.channels; ++c) by.keep(c, double{sums[c]}, double{sums[rows.channels + c]});
            with_flags(relu, add, [&](auto masked, auto add_too) {
              input_gradient(rows, rows.valid(args, after_y + 4), a, by, dx, dresidual,
                             [=]<class V>(V, int64_t at) -> V {
                               const V g = a.template g<masked.value, V>(at);
                               if constexpr (add_too.value) store(dresidual + at, g);
                               return g;
                             });
            });
          }};
}

}  // namespace lockstep::cpu
