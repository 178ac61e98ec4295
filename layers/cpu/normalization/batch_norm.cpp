#include "layers/normalization/batch_norm.h"

#include "layers/cpu/kernels.h"
#include "layers/cpu/normalization/batch_norm.h"

namespace lockstep::cpu {

using namespace norm;

Kernel make(const BatchNormOp& op, const Signature& signature) {
  BatchNormOp::expect_variance(signature.in[0], signature.in[3].shape[0]);
  const Rows rows(signature.in[0], signature.in[3].shape[0]);
  return {.workspace = rows.workspace(1),
          .run = [rows, epsilon = op.epsilon, relu = op.relu, add = op.add](Stream&, const Args& args) {
            const float* x = args.in[0].as();
            auto* const sums = reinterpret_cast<float*>(args.workspace);
            const int64_t valid = rows.valid(args, 3);
            const Statistics to(args, rows.kept(sums), epsilon, valid);
            moments(rows, valid, x, sums, [=](int64_t c, double mean, double squares) { to.keep(c, mean, squares); });
            apply(rows, valid,
                  {x, add ? args.in[4].as() : nullptr, args.out[0].as(), to.mean, to.scale, args.in[2].as(), relu});
          }};
}

Kernel make(const BatchNormInferenceOp& op, const Signature& signature) {
  const Rows rows(signature.in[0], 1);
  return {.workspace = rows.workspace(1),
          .run = [rows, epsilon = op.epsilon, relu = op.relu, add = op.add](Stream&, const Args& args) {
            const float* gamma = args.in[1].as();
            const float* variance = args.in[4].as();
            float* const scale = rows.kept(reinterpret_cast<float*>(args.workspace));
            for (int64_t c = 0; c < rows.channels; ++c)
              scale[c] = gamma[c] * static_cast<float>(1 / std::sqrt(double{variance[c]} + double{epsilon}));
            apply(rows, rows.total,
                  {args.in[0].as(), add ? args.in[5].as() : nullptr, args.out[0].as(), args.in[3].as(), scale,
                   args.in[2].as(), relu});
          }};
}

Kernel make(const BatchNormGradOp& op, const Signature& signature) {
  const size_t after_y = op.relu ? 2 : 1;
  const Rows rows(signature.in[0], signature.in[after_y + 4].shape[0]);
  return {.workspace = rows.workspace(3),
          .run = [rows, after_y, relu = op.relu, add = op.add](Stream&, const Args& args) {
            const Gradient a{args.in[0].as(), args.in[after_y - 1].as(), args.in[after_y].as(),
                             args.in[after_y + 2].as(), relu.top};
            float *dx = args.out[0].as(), *const dresidual = add ? args.out[3].as() : nullptr;
            auto* const sums = reinterpret_cast<float*>(args.workspace);
            const int64_t valid = rows.valid(args, after_y + 4);
            const Slopes by(rows, rows.kept(sums), args, after_y + 1, valid);
            with_flags(relu, add, [&](auto masked, auto add_too) {
              const auto pass = [=]<class V>(int64_t at, V g) {
                if constexpr (add_too.value) store(dresidual + at, g);
              };
              gradient_sums<masked.value>(rows, valid, a, sums, pass,
                                          [=](int64_t c, double g, double g_deviation) { by.keep(c, g, g_deviation); });
              input_gradient(rows, valid, a, by, dx, dresidual, [=]<class V>(V, int64_t at) -> V {
                if constexpr (add_too.value)
                  return load<V>(dresidual + at);
                else
                  return a.template g<masked.value, V>(at);
              });
            });
          }};
}

}  // namespace lockstep::cpu
