#include "layers/optimizers/update.h"

#include "core/error.h"
#include "layers/base/check.h"
#include "layers/optimizers/loss_scale.h"

namespace lockstep {

UpdateOp::UpdateOp(Formula what, bool scaled, std::vector<Stretch> parts)
    : formula(what), scaled(scaled), stretches(std::move(parts)) {
  std::visit([](const auto& f) { f.check(); }, formula);
}

std::string_view UpdateOp::name() const {
  return std::visit([](const auto& f) { return std::string_view(f.name); }, formula);
}

size_t UpdateOp::slots() const {
  return std::visit([](const auto& f) { return f.slot_names().size(); }, formula);
}

bool UpdateOp::adapts() const {
  return std::visit([](const auto& f) { return f.traits.adapts; }, formula);
}

std::vector<Type> UpdateOp::infer(std::span<const Type> in) const {
  const size_t kept = slots();
  expect_count(in, 3 + kept + (adapts() ? 2U : 0U) + (scaled ? 2U : 0U));
  expect_f32(in[0]);
  expect_type(in[1], in[0], "the gradient sum");
  expect_step_state(in[2]);
  std::vector<Type> out{in[0]};
  for (size_t slot = 0; slot < kept; ++slot) {
    expect_type(in[3 + slot], in[0], "an optimizer variable");
    out.push_back(in[0]);
  }
  if (adapts()) {
    expect_f32(in[3 + kept]);
    expect_type(in[4 + kept], in[3 + kept], "the norms of gradients");
    for (const Stretch& stretch : stretches)
      if (stretch.norm >= in[3 + kept].shape.elements())
        throw InputError("got {}, expected the norms of {} variables", in[3 + kept].str(), stretch.norm + 1);
  }
  if (scaled) expect_loss_scale(in.last(2));
  return out;
}

std::vector<Stretch> UpdateOp::stretches_of(int64_t n) const {
  return stretches.empty() ? std::vector<Stretch>{{0, n}} : stretches;
}

std::string UpdateOp::attributes() const {
  std::string text;
  std::visit(
      [&]<class F>(const F& f) {
        if constexpr (requires { F::options(f, [](std::string_view, auto) {}); })
          F::options(f, [&](std::string_view key, auto value) {
            if (key != "lr") text += fmt::format("{}{} {}", text.empty() ? "" : " ", key, value);
          });
      },
      formula);
  if (stretches.size() > 1) text += fmt::format(" in {} stretches", stretches.size());
  return text + (scaled ? " scaled" : "");
}

}  // namespace lockstep
