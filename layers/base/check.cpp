#include "layers/base/check.h"

#include "core/error.h"
#include "core/step_state.h"

namespace lockstep {

void expect_count(std::span<const Type> in, size_t count) {
  if (in.size() != count) throw InputError("got {} inputs, expected {}", in.size(), count);
}

Value only_input(std::span<const Value> in) {
  if (in.size() != 1) throw InputError("got {} inputs, expected 1", in.size());
  return in[0];
}

void expect_float(const Type& type) {
  if (!is_float(type.dtype)) throw InputError("got {}, expected elements of type f32, f16 or bf16", type.str());
}

void expect_f32(const Type& type) {
  if (type.dtype != DType::f32) throw InputError("got {}, expected elements of type f32", type.str());
}

void expect_image(const Type& type) {
  if (!is_float(type.dtype) || type.shape.rank() != 4)
    throw InputError("got {}, expected images f32[N, H, W, C]", type.str());
}

void expect_type(const Type& given, const Type& expected, const char* what) {
  if (!(given == expected)) throw InputError("{} is {}, expected {}", what, given.str(), expected.str());
}

void expect_step_state(const Type& type) { expect_type(type, step_state_type(), "the step state"); }

int64_t expect_lane_state(const Type& type, const Type& batch) {
  const int64_t lanes = type.shape.rank() > 0 ? type.shape[0] : 0;
  expect_type(type, lane_state_type(lanes), "the lane state");
  if (lanes < 1 || batch.shape.rank() < 1 || batch.shape[0] % lanes != 0)
    throw InputError("got {} and {} lanes, expected a batch that the lanes divide", batch.str(), lanes);
  return lanes;
}

std::vector<Rule> elementwise_rules(size_t inputs) {
  std::vector<Rule> rules;
  for (int dim = 0; dim < 4; ++dim) rules.push_back({std::vector<Placement>(inputs, shard(dim)), {shard(dim)}});
  return rules;
}

Rule batch_rule(size_t inputs, size_t outputs) {
  return {std::vector<Placement>(inputs, shard(0)), std::vector<Placement>(outputs, shard(0))};
}

}  // namespace lockstep
