#include "layers/reshaping/cast.h"

#include "core/error.h"
#include "layers/base/check.h"

namespace lockstep {

CastOp::CastOp(DType to) : to(to) {
  if (!is_float(to)) throw InputError("cast: got {}, expected f32, f16 or bf16", name_of(to));
}

std::vector<Type> CastOp::infer(std::span<const Type> in) const {
  expect_count(in, 1);
  expect_float(in[0]);
  return {{in[0].shape, to}};
}

std::vector<Rule> CastOp::rules() const { return elementwise_rules(1); }

std::vector<Value> CastOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  return {graph.add1(node.name + "/grad", std::make_shared<CastOp>(graph.type(node.in[0]).dtype), {dy[0]})};
}

std::string CastOp::attributes() const { return fmt::format("to {}", name_of(to)); }

}  // namespace lockstep
