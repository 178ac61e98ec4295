#include "layers/normalization/batch_norm_parts.h"

#include "core/error.h"
#include "layers/base/check.h"
#include "layers/normalization/moments.h"

namespace lockstep {

namespace {

Type channels_type(const Type& x) { return {Shape{x.shape[-1]}}; }

/// A value a lane and channel.
Type per_lane_type(const Type& x, int64_t lanes) { return {Shape{lanes, x.shape[-1]}}; }

/// Two a lane, part and channel.
Type parts_type(const Type& x, int64_t lanes, ImageParts parts) {
  return {Shape{2 * lanes, parts.rows, parts.columns, x.shape[-1]}};
}

/// How the images lie along an axis: of a batch that is cut into lanes; cut in height or width; cut along the channels.
struct Layout {
  Placement image;
  Cut cut = Cut::batch;
  Placement channels = replicate, per_lane = replicate;  // [C] and [L,C]
  Placement lane_state = replicate;
};
constexpr Layout layouts[]{{shard(0), Cut::batch, replicate, shard(0), shard(0)},
                           {shard(1), Cut::height},
                           {shard(2), Cut::width},
                           {shard(3), Cut::batch, shard(0), shard(1), replicate}};

bool in_space(const Layout& layout) { return layout.cut != Cut::batch; }

/// Sums over a part of the images.
Placement sums(const Layout& layout) { return in_space(layout) ? partial : layout.image; }

/// A gradient of [C], or a sum over the batch: a term a lane; where images are cut every member has the whole.
Placement over_lanes(const Layout& layout) { return layout.image == shard(0) ? partial : layout.channels; }

}  // namespace

std::vector<Type> BatchNormMomentsOp::infer(std::span<const Type> in) const {
  expect_count(in, 2);
  expect_image(in[0]);
  return {parts_type(in[0], expect_lane_state(in[1], in[0]), parts)};
}

std::vector<Rule> BatchNormMomentsOp::rules() const {
  std::vector<Rule> rules;
  for (const Layout& layout : layouts) rules.push_back({{layout.image, layout.lane_state}, {layout.image}, layout.cut});
  return rules;
}

std::string BatchNormMomentsOp::attributes() const {
  return fmt::format("{}x{} part{}", parts.rows, parts.columns, parts == ImageParts{} ? "" : "s");
}

Op::Local BatchNormMomentsOp::local(const Part& part) const {
  const int dim = part.rule.out[0].dim;
  if (dim != 1 && dim != 2) return {};
  ImageParts mine = parts;
  (dim == 1 ? mine.rows : mine.columns) = part.out[0].size();
  return {std::make_shared<BatchNormMomentsOp>(mine)};
}

void BatchNormMomentsOp::expect_one_part() const {
  if (parts != ImageParts{}) throw Error("the moments' kernel works on one part, but got {}", attributes());
}

std::vector<Type> BatchNormApplyOp::infer(std::span<const Type> in) const {
  expect_count(in, add ? 6 : 5);
  const Type& x = in[0];
  expect_image(x);
  expect_type(in[1], channels_type(x), "gamma");
  expect_type(in[2], channels_type(x), "beta");
  const int64_t lanes = expect_lane_state(in[3], x);
  expect_image(in[4]);
  expect_type(in[4], parts_type(x, lanes, {in[4].shape[1], in[4].shape[2]}), "what the parts tell");
  if (add) expect_type(in[5], x, "the residual");
  return {x, per_lane_type(x, lanes), per_lane_type(x, lanes), moments_type(x)};
}

std::vector<Rule> BatchNormApplyOp::rules() const {
  std::vector<Rule> rules;
  for (const Layout& layout : layouts) {
    const Placement x = layout.image, moments = in_space(layout) ? replicate : x;
    rules.push_back({{x, layout.channels, layout.channels, layout.lane_state, moments},
                     {x, layout.per_lane, layout.per_lane, over_lanes(layout)},
                     layout.cut});
    if (add) rules.back().in.push_back(x);
  }
  return rules;
}

std::vector<Value> BatchNormApplyOp::backward(Graph& graph, const Node& node, std::span<const Value> dy) const {
  std::vector<Value> in{node.in[0]};
  if (relu) in.push_back(node.out[0]);
  in.push_back(dy[0]);
  std::vector<Value> summed = in;
  summed.insert(summed.end(), {node.out[1], node.in[3]});
  const Value sums = graph.add1(node.name + "/grad_sums", std::make_shared<BatchNormGradSumsOp>(relu), summed);
  in.insert(in.end(), {node.in[1], node.out[1], node.out[2], node.in[3], sums});
  const auto out =
      graph.add(node.name + "/grad", std::make_shared<BatchNormGradApplyOp>(relu, add, height * width), in);
  std::vector<Value> gradients{out[0], out[1], out[2], Value{}, Value{}};
  if (add) gradients.push_back(out[3]);
  return gradients;
}

std::string BatchNormApplyOp::attributes() const {
  return fmt::format("epsilon {}{}{}", epsilon, add ? " +add" : "", relu ? " " + relu.str() : "");
}

std::vector<int64_t> BatchNormApplyOp::pixels_of(ImageParts parts) const {
  std::vector<int64_t> pixels;
  for (const Interval rows : even_slices(height, parts.rows))
    for (const Interval columns : even_slices(width, parts.columns)) pixels.push_back(rows.size() * columns.size());
  return pixels;
}

std::vector<Type> BatchNormGradSumsOp::infer(std::span<const Type> in) const {
  expect_count(in, relu ? 5 : 4);
  const Type& x = in[0];
  expect_image(x);
  if (relu) expect_type(in[1], x, "y");
  const auto rest = in.subspan(relu ? 2 : 1);
  expect_type(rest[0], x, "dy");
  const int64_t lanes = expect_lane_state(rest[2], x);
  expect_type(rest[1], per_lane_type(x, lanes), "the mean");
  return {parts_type(x, lanes, {})};
}

std::vector<Rule> BatchNormGradSumsOp::rules() const {
  std::vector<Rule> rules;
  for (const Layout& layout : layouts) {
    rules.push_back({{layout.image, layout.image, layout.per_lane, layout.lane_state}, {sums(layout)}, layout.cut});
    if (relu) rules.back().in.insert(rules.back().in.begin(), layout.image);
  }
  return rules;
}

std::vector<Type> BatchNormGradApplyOp::infer(std::span<const Type> in) const {
  expect_count(in, relu ? 8 : 7);
  const Type& x = in[0];
  expect_image(x);
  if (relu) expect_type(in[1], x, "y");
  const auto rest = in.subspan(relu ? 2 : 1);
  expect_type(rest[0], x, "dy");
  expect_type(rest[1], channels_type(x), "gamma");
  const int64_t lanes = expect_lane_state(rest[4], x);
  expect_type(rest[2], per_lane_type(x, lanes), "the mean");
  expect_type(rest[3], per_lane_type(x, lanes), "the inverse deviation");
  expect_type(rest[5], parts_type(x, lanes, {}), "the sums");
  std::vector<Type> out{x, channels_type(x), channels_type(x)};
  if (add) out.push_back(x);
  return out;
}

std::vector<Rule> BatchNormGradApplyOp::rules() const {
  std::vector<Rule> rules;
  for (const Layout& layout : layouts) {
    const Placement x = layout.image, summed = in_space(layout) ? replicate : x, sum = over_lanes(layout);
    rules.push_back({{x, x, layout.channels, layout.per_lane, layout.per_lane, layout.lane_state, summed},
                     {x, sum, sum},
                     layout.cut});
    if (relu) rules.back().in.insert(rules.back().in.begin(), x);
    if (add) rules.back().out.push_back(x);
  }
  return rules;
}

std::string BatchNormGradApplyOp::attributes() const {
  return fmt::format("{}{}{}", add ? "+add" : "", add && relu ? " " : "", relu.str());
}

}  // namespace lockstep
