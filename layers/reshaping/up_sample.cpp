#include "layers/reshaping/up_sample.h"

#include <fmt/format.h>

#include "core/error.h"
#include "layers/base/check.h"
#include "layers/reshaping/interpolate.h"

namespace lockstep {

namespace {

using Sizes = std::array<Enlargement, 2>;

/// `shape` with the rows and columns that one side of the enlargement has.
Shape with(Shape shape, const Sizes& size, Interval Enlargement::*side) {
  for (size_t d = 0; d < 2; ++d) shape[static_cast<int>(d) + 1] = (size[d].*side).size();
  return shape;
}

/// One side from the other, which must be as the enlargement says.
std::vector<Type> infer(std::span<const Type> in, const Sizes& size, Interval Enlargement::*from,
                        Interval Enlargement::*to, const char* what) {
  expect_count(in, 1);
  expect_image(in[0]);
  expect_type(in[0], {with(in[0].shape, size, from), in[0].dtype}, what);
  return {{with(in[0].shape, size, to), in[0].dtype}};
}

Interval sources(const Enlargement& e, Interpolation interpolation, Interval seen) {
  return {tap(e.factor, e.length, interpolation, seen.begin).low,
          tap(e.factor, e.length, interpolation, seen.end - 1).high + 1};
}

std::string text(const Sizes& size, Interpolation interpolation) {
  return fmt::format("{}x{} {}", size[0].factor, size[1].factor,
                     interpolation == Interpolation::nearest ? "nearest" : "bilinear");
}

}  // namespace

std::vector<Type> UpSampleOp::infer(std::span<const Type> in) const {
  return lockstep::infer(in, size, &Enlargement::in, &Enlargement::out, "x");
}

std::vector<Rule> UpSampleOp::rules() const {
  return {batch_rule(1),
          {{window(1)}, {shard(1)}, Cut::height},
          {{window(2)}, {shard(2)}, Cut::width},
          {{shard(3)}, {shard(3)}}};
}

Interval UpSampleOp::needs(int dim, Interval seen, int64_t) const {
  return sources(size[static_cast<size_t>(dim - 1)], interpolation, seen);
}

Op::Local UpSampleOp::local(const Part& part) const {
  const int dim = part.rule.out[0].dim;
  if (dim != 1 && dim != 2) return {};
  Sizes own = size;
  own[static_cast<size_t>(dim - 1)].in = part.in[0];
  own[static_cast<size_t>(dim - 1)].out = part.out[0];
  return {std::make_shared<UpSampleOp>(own, interpolation)};
}

std::vector<Value> UpSampleOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  return {graph.add1(node.name + "/grad", std::make_shared<UpSampleGradOp>(size, interpolation), {dy[0]})};
}

std::string UpSampleOp::attributes() const { return text(size, interpolation); }

std::vector<Type> UpSampleGradOp::infer(std::span<const Type> in) const {
  return lockstep::infer(in, size, &Enlargement::out, &Enlargement::in, "dy");
}

std::vector<Rule> UpSampleGradOp::rules() const {
  return {batch_rule(1),
          {{shard(1)}, {overlap(1)}, Cut::height},
          {{shard(2)}, {overlap(2)}, Cut::width},
          {{shard(3)}, {shard(3)}}};
}

Interval UpSampleGradOp::needs(int dim, Interval seen, int64_t) const {
  return sources(size[static_cast<size_t>(dim - 1)], interpolation, seen);
}

Op::Local UpSampleGradOp::local(const Part& part) const {
  const int dim = part.rule.out[0].dim;
  if (dim != 1 && dim != 2) return {};
  Sizes own = size;
  own[static_cast<size_t>(dim - 1)].in = part.out[0];
  own[static_cast<size_t>(dim - 1)].out = part.in[0];
  return {std::make_shared<UpSampleGradOp>(own, interpolation)};
}

std::string UpSampleGradOp::attributes() const { return text(size, interpolation); }

void UpSampling2D::describe(Fields& fields) {
  fields.field("size", size);
  fields.field("interpolation", options.interpolation);
}

Value UpSampling2D::build(Builder& builder, std::span<const Value> in) const {
  const Value x = only_input(in);
  expect_image(builder.type(x));
  Sizes sizes;
  for (size_t d = 0; d < 2; ++d) {
    const int64_t length = builder.type(x).shape[static_cast<int>(d) + 1];
    if (size[d] < 1 || length * size[d] > INT32_MAX / 4)
      throw InputError("layer '{}': size {}x{} for {}: expected at least 1x1, and images that can be counted",
                       builder.layer(), size[0], size[1], builder.type(x).str());
    sizes[d] = {size[d], length, {0, length}, {0, length * size[d]}};
  }
  return builder.add1("", std::make_shared<UpSampleOp>(sizes, options.interpolation), {x});
}

}  // namespace lockstep
