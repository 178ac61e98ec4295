// Where a step's time goes: what nodes compute and move is counted right, every node is there, and looking changes no
// bit.
#include "launch/plan/view/profile.h"

#include <gtest/gtest.h>

#include "launch/lockstep.h"
#include "launch/train/trainer.h"
#include "layers/ops.h"

namespace lockstep {
namespace {

Network small() {
  return Sequential("small", Input({8, 8, 1}), Conv2D(4, {3, 3}, {.padding = Padding::same}).named("conv"),
                    MaxPooling2D({2, 2}), Flatten(), Dense(10, {.activation = Activation::softmax}).named("dense"));
}

/// A plan of one node.
struct OneNode {
  StepPlan plan;
  const Node& node() const { return plan.graph.nodes()[0]; }
  double flops() const { return node().op->flops(plan.signature(node())); }
  double bytes() const { return node().op->bytes(plan.signature(node())); }
};
OneNode one_node(std::shared_ptr<const Op> op, const std::vector<Type>& in) {
  OneNode made;
  std::vector<Value> values;
  for (const Type& type : in)
    values.push_back(made.plan.graph.source("in" + std::to_string(values.size()), type, Role::activation));
  made.plan.graph.add("node", std::move(op), values);
  for (const ValueInfo& info : made.plan.graph.values()) made.plan.local.push_back(info.type);
  return made;
}

TEST(Profile, CountsMultiplyAddsAndBytes) {
  const Conv2dAttributes conv{{3, 3}, {1, 1}, {1, 1}, {1, 1}};
  const Shape x{2, 8, 8, 4}, w{6, 3, 3, 4}, y{2, 8, 8, 6};
  const double work = 2.0 * 2 * 8 * 8 * 6 * 3 * 3 * 4;
  const OneNode forward = one_node(std::make_shared<Conv2dOp>(conv, false, false), {{x}, {w}});
  EXPECT_EQ(forward.flops(), work);
  EXPECT_EQ(forward.bytes(), 4.0 * (2 * 8 * 8 * 4 + 6 * 3 * 3 * 4 + 2 * 8 * 8 * 6));
  const OneNode data_grad = one_node(std::make_shared<Conv2dDataGradOp>(conv, x), {{w}, {y}});
  EXPECT_EQ(data_grad.flops(), work);
  const OneNode weight_grad = one_node(std::make_shared<Conv2dWeightGradOp>(conv, false), {{x}, {y}});
  EXPECT_EQ(weight_grad.flops(), work);
  const OneNode relu = one_node(std::make_shared<ReluOp>(), {{x}});
  EXPECT_EQ(relu.flops(), 0);
}

TEST(Profile, TimesEveryNodeAndChangesNoBit) {
  const Data digits = open_data("digits");
  const auto sha256 = [&](bool profile, int ranks, std::string* table) {
    Runtime runtime;
    Model model(small(), runtime);
    model.compile({});
    FitOptions fit;
    fit.steps = 3;
    fit.run = {.batch = 32, .lanes = 2, .ranks = ranks, .profile = profile};
    model.fit(digits.train, fit);
    if (table) *table = model.profiled();
    return model.weights_sha256();
  };
  std::string table, nothing;
  const std::string plain = sha256(false, 1, &nothing);
  EXPECT_EQ(nothing, "");
  EXPECT_EQ(sha256(true, 1, &table), plain);
  for (const char* node : {"conv", "conv/weight_grad", "dense/data_grad", "max_pooling2d/grad", "loss", "all nodes"})
    EXPECT_NE(table.find(fmt::format("  {}", node)), std::string::npos) << node << "\n" << table;
  EXPECT_EQ(sha256(true, 2, &table), plain);
  EXPECT_NE(table.find("all_reduce"), std::string::npos) << table;
}

}  // namespace
}  // namespace lockstep
