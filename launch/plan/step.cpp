#include "launch/plan/step.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "core/plan/autodiff.h"
#include "core/plan/recompute.h"
#include "launch/plan/planner.h"
#include "launch/plan/updates.h"
#include "layers/ops.h"
#include "parallel/collectives/rank_sum.h"

namespace lockstep {

namespace {

/// Puts sums one after the other after `offset`.
void stack_sums(const Graph& graph, std::span<const Value> values, size_t offset, FixedLocations& sums) {
  for (Value value : values) {
    sums[value] = {Region::sum, offset};
    offset += aligned(graph.type(value).bytes());
  }
}

/// With loss scaling: what all updates take, {loss scale, whether all gradients are finite}. Totals are the same on all
/// ranks, so this is as well. The gaps between gradients are zeros.
std::vector<Value> add_finite(Planner& planner, const StepTarget& target, const std::vector<Bucket>& buckets) {
  std::vector<Value> gradients;
  for (const Bucket& bucket : buckets)
    if (bucket.gradients) gradients.push_back(bucket.gradients);
  if (!planner.scale()) return {};
  if (gradients.empty()) gradients.push_back(planner.scale());  // a stage that has none says so
  Value flag = planner.after_lanes("finite", std::make_shared<FiniteOp>(), gradients).at(0);
  if (planner.gradients_differ()) {
    std::vector<size_t> axes(target.mesh.strategy().mesh.size());
    std::iota(axes.begin(), axes.end(), size_t{0});
    flag = planner.after_lanes("finite/sum", std::make_shared<RankSumOp>("flag", axes), {flag}).at(0);
  }
  return {planner.scale(), flag};
}

}  // namespace

Step plan_training(const Network& network, const Optimizer& optimizer, const StepOptions& options,
                   const StepTarget& target) {
  Planner planner(network, options, target, true);
  planner.add_loss(options.scales_loss());
  std::vector<Value> others = planner.results();
  const size_t results = others.size();
  for (const auto& tracked : planner.built().tracked) others.push_back(tracked.moments);
  planner.passed("network");
  planner.fuse_nodes(others);
  planner.passed("fuse");
  const size_t forward = planner.graph().nodes().size();
  const auto gradients =
      autodiff(planner.graph(), planner.step().loss, [](Graph& g, std::string name, Value a, Value b) {
        return g.add1(std::move(name), std::make_shared<AddOp>(), {a, b});
      });

  const auto recomputed = [&](const std::string& node) {
    return std::ranges::any_of(options.recompute, [&](const std::string& pattern) { return matches(pattern, node); });
  };
  if (!options.recompute.empty()) recompute(planner.graph(), forward, recomputed);

  std::vector<Value> wanted = others;
  FixedLocations sums;
  stack_sums(planner.graph(), others, target.layout.parameter_bytes, sums);
  for (const Gradient& gradient : gradients) {
    wanted.push_back(gradient.gradient);
    const auto& name = planner.graph().info(gradient.parameter).name;
    sums[gradient.gradient] = {Region::sum, target.layout.where.at(name).offset};
  }
  planner.graph().prune(wanted);
  planner.passed("autodiff");
  planner.fix_variables();
  std::vector<PlacementRequest::Sum> requests;
  for (const Value result : planner.results()) requests.push_back({result});
  const auto merge = std::make_shared<MergeMomentsOp>();  // one, so that buckets hold as many as they can
  for (const auto& tracked : planner.built().tracked) requests.push_back({tracked.moments, tracked.mean, merge});
  for (const Gradient& gradient : gradients) requests.push_back({gradient.gradient, gradient.parameter});
  const auto totals = planner.place(requests);
  planner.passed("place");
  const auto buckets = planner.reduce(sums, target.layout.parameter_bytes);
  planner.passed("reduce");
  planner.end_pipeline();

  const std::vector<Value> scaling = add_finite(planner, target, buckets);
  plan_updates(planner, network, optimizer, target, buckets, scaling);
  // After the updates, which read the scale that this step's gradients have.
  if (!scaling.empty()) planner.update("loss_scale", std::make_shared<LossScaleOp>(), scaling, {scaling[0]});
  for (size_t i = 0; i < planner.built().tracked.size(); ++i) {
    if (!planner.here(totals[results + i])) continue;
    const auto& [mean, variance, moments, momentum] = planner.built().tracked[i];
    planner.update(planner.graph().info(mean).name + "/track", std::make_shared<MovingAverageOp>(momentum),
                   {mean, variance, totals[results + i]}, {mean, variance});
  }
  planner.share_results({totals.begin(), totals.begin() + static_cast<ptrdiff_t>(results)});
  return planner.finish();
}

Step plan_evaluation(const Network& network, const StepOptions& options, const StepTarget& target) {
  Planner planner(network, options, target, false);
  planner.add_loss(false);
  const std::vector<Value> wanted = planner.results();
  planner.fuse_nodes(wanted);
  planner.fix_variables();
  FixedLocations sums;
  stack_sums(planner.graph(), wanted, 0, sums);
  std::vector<PlacementRequest::Sum> requests;
  for (const Value result : wanted) requests.push_back({result});
  const auto totals = planner.place(requests);
  planner.reduce(sums, 0);
  planner.share_results(totals);
  return planner.finish();
}

Step plan_prediction(const Network& network, const StepOptions& options, const StepTarget& target) {
  Planner planner(network, options, target, false);
  Value output = planner.f32(planner.built().output);
  planner.fuse_nodes({output});
  planner.fix_variables();
  output = planner.place({}, {output})[0];
  planner.keep(output);
  planner.end_pipeline();
  planner.step().predictions = output;
  return planner.finish();
}

}  // namespace lockstep
