#include "layers/merging/concat.h"

#include "core/error.h"
#include "layers/base/check.h"

namespace lockstep {

std::vector<Type> ConcatOp::infer(std::span<const Type> in) const {
  expect_count(in, inputs);
  Type y = in[0];
  if (y.shape.rank() < 2) throw InputError("got {}, expected a batch of at least one dimension", y.str());
  int64_t last = 0;
  for (const Type& type : in) {
    expect_float(type);
    Type other = type;
    if (other.shape.rank() == y.shape.rank()) other.shape[-1] = y.shape[-1];
    if (!(other == y))
      throw InputError("{} cannot be concatenated with {}: they differ in more than the last dimension", type.str(),
                       in[0].str());
    last += type.shape[-1];
  }
  y.shape[-1] = last;
  return {y};
}

std::vector<Rule> ConcatOp::rules() const {
  return {batch_rule(inputs),
          {std::vector<Placement>(inputs, shard(1)), {shard(1)}, Cut::height},
          {std::vector<Placement>(inputs, shard(2)), {shard(2)}, Cut::width}};
}

std::vector<Value> ConcatOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  std::vector<Value> gradients;
  int64_t begin = 0;
  for (size_t i = 0; i < inputs; ++i) {
    const int64_t end = begin + graph.type(node.in[i]).shape[-1];
    gradients.push_back(
        graph.add1(fmt::format("{}/grad{}", node.name, i), std::make_shared<SliceOp>(begin, end), {dy[0]}));
    begin = end;
  }
  return gradients;
}

std::vector<Type> SliceOp::infer(std::span<const Type> in) const {
  expect_count(in, 1);
  expect_float(in[0]);
  Type y = in[0];
  if (begin < 0 || begin >= end || end > y.shape[-1]) throw InputError("slice {} to {} of {}", begin, end, y.str());
  y.shape[-1] = end - begin;
  return {y};
}

std::string SliceOp::attributes() const { return fmt::format("{}:{}", begin, end); }

Value Concatenate::build(Builder& builder, std::span<const Value> in) const {
  if (in.size() < 2)
    throw InputError("layer '{}': Concatenate takes at least 2 inputs, {} were given", builder.layer(), in.size());
  const int64_t last = builder.type(in[0]).shape.rank() - 1;
  if (axis != -1 && axis != last)
    throw InputError("layer '{}': axis is {}, expected -1 (the channels)", builder.layer(), axis);
  return builder.add1("", std::make_shared<ConcatOp>(in.size()), {in.begin(), in.end()});
}

}  // namespace lockstep
