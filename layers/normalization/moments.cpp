#include "layers/normalization/moments.h"

#include "core/error.h"
#include "layers/base/check.h"

namespace lockstep {

std::vector<Type> MergeMomentsOp::infer(std::span<const Type> in) const {
  expect_count(in, 2);
  if (in[0].dtype != DType::f32 || in[0].shape.elements() * sizeof(float) % sizeof(Moments) != 0)
    throw InputError("got {}, expected f32[n] of n / 4 moments", in[0].str());
  expect_type(in[1], in[0], "the second input");
  return {in[0]};
}

}  // namespace lockstep
