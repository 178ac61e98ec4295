#include "layers/optimizers/norms.h"

#include "core/error.h"
#include "layers/check.h"

namespace lockstep {

std::vector<Type> NormsOp::infer(std::span<const Type> in) const {
  for (const Type& type : in) expect_f32(type);
  for (const NormOf& variable : variables)
    if (variable.begin < variable.end &&
        (variable.input >= in.size() || variable.end > in[variable.input].shape.elements()))
      throw InputError("a variable lies in elements {} to {} of input {}, which is not given", variable.begin,
                       variable.end, variable.input);
  return {{Shape{static_cast<int64_t>(variables.size())}, DType::f32}};
}

std::string NormsOp::attributes() const { return fmt::format("of {} variables", variables.size()); }

std::vector<Type> TotalNormOp::infer(std::span<const Type> in) const {
  expect_count(in, 1);
  expect_f32(in[0]);
  return {in[0]};
}

}  // namespace lockstep
