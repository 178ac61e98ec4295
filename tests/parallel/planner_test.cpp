// The passes of core/plan: memory against brute force over random graphs, schedule, autodiff, propagation, buckets.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "core/error.h"
#include "core/plan/autodiff.h"
#include "core/plan/step_plan.h"
#include "parallel/collectives/reduce.h"
#include "parallel/collectives/reshard.h"
#include "parallel/placement/buckets.h"

namespace lockstep {
namespace {

/// Any number of inputs, one output of `elements` floats.
class TestOp : public Op {
 public:
  explicit TestOp(int64_t elements, Reuse kind = Reuse::none) : elements_(elements), kind_(kind) {}
  std::string_view name() const override { return "test"; }
  std::vector<Type> infer(std::span<const Type>) const override { return {{Shape{elements_}, DType::f32}}; }
  std::vector<Rule> rules() const override { return {}; }
  Reuse reuse() const override { return kind_; }

 private:
  int64_t elements_;
  Reuse kind_;
};

class CollectiveOp final : public TestOp {
 public:
  using TestOp::TestOp;
  Queue queue() const override { return Queue::side; }
};

std::vector<Type> types_of(const Graph& graph) {
  std::vector<Type> types;
  for (const ValueInfo& info : graph.values()) types.push_back(info.type);
  return types;
}

/// Simulates the schedule: at each node, every value that is still to be read must lie where nobody else writes.
bool overlaps(const Graph& graph, const std::vector<Entry>& order, const MemoryPlan& plan,
              const std::vector<NodeMemory>& needs) {
  std::vector<int> last(graph.values().size(), -1);
  for (size_t at = 0; at < order.size(); ++at)
    for (Value v : graph.node(order[at].node).in) last[static_cast<size_t>(v.id)] = static_cast<int>(at);
  const auto range = [&](Value v) {
    const size_t begin = plan.values[v].offset;
    return std::pair(begin, begin + graph.type(v).bytes());
  };
  const auto meet = [](auto a, auto b) { return a.first < b.second && b.first < a.second; };
  std::set<int> live;
  for (size_t at = 0; at < order.size(); ++at) {
    const auto index = static_cast<size_t>(order[at].node);
    const Node& node = graph.nodes()[index];
    const Reuse reuse = node.op->reuse();
    if (reuse == Reuse::view) {  // writes nothing
      if (range(node.out[0]) != range(node.in[0])) return true;
      live.insert(node.out[0].id);
      continue;
    }
    std::vector<std::pair<size_t, size_t>> written;
    for (Value v : node.out) written.push_back(range(v));
    const size_t workspace = plan.nodes[order[at].node].workspace;
    const std::pair work(workspace, workspace + needs[index].workspace);
    for (int id : live) {
      const Value v{id};
      const bool read_now = std::ranges::find(node.in, v) != node.in.end();
      const bool read_later = last[static_cast<size_t>(id)] > static_cast<int>(at);
      if (needs[index].workspace && (read_now || read_later) && meet(range(v), work)) return true;
      for (const auto& w : written) {
        if (!meet(range(v), w)) continue;
        // Only input 0 of an in-place operator may share its bytes, whole, and only when nobody needs it afterwards.
        const bool allowed = reuse == Reuse::in_place && v == node.in[0] && range(v) == w && !read_later;
        if (!allowed && (read_now || read_later)) return true;
      }
    }
    for (const auto& w : written)
      if (needs[index].workspace && meet(w, work)) return true;
    for (Value v : node.out) live.insert(v.id);
  }
  return false;
}

struct RandomCase {
  Graph graph;
  std::vector<Entry> order;
  std::vector<NodeMemory> needs;
};

RandomCase random_case(unsigned seed) {
  std::mt19937 bits(seed);
  const auto pick = [&](int n) { return static_cast<int>(bits() % static_cast<unsigned>(n)); };
  RandomCase c;
  std::vector<Value> values{c.graph.source("x", {Shape{64}, DType::f32}, Role::lane_input)};
  const int nodes = 2 + pick(40);
  for (int i = 0; i < nodes; ++i) {
    std::vector<Value> in;
    for (int k = 0, n = 1 + pick(3); k < n; ++k)
      in.push_back(values[static_cast<size_t>(pick(static_cast<int>(values.size())))]);
    const bool source = c.graph.info(in[0]).producer < 0;
    const Reuse reuse =
        source ? Reuse::none : std::array{Reuse::none, Reuse::in_place, Reuse::view}[static_cast<size_t>(pick(3))];
    const int64_t elements = reuse == Reuse::view ? c.graph.type(in[0]).shape[0] : 1 + pick(500);
    values.push_back(c.graph.add1(std::to_string(i), std::make_shared<TestOp>(elements, reuse), in));
    c.needs.push_back({static_cast<size_t>(pick(2) * pick(900)), 0});
  }
  c.order = schedule(c.graph);
  return c;
}

TEST(MemoryPlan, NoTwoLiveBuffersOverlapOverRandomGraphs) {
  for (unsigned seed = 0; seed < 500; ++seed) {
    const RandomCase c = random_case(seed);
    const MemoryPlan plan = plan_memory(c.graph, types_of(c.graph), c.order, c.needs, {});
    ASSERT_FALSE(overlaps(c.graph, c.order, plan, c.needs)) << "seed " << seed;
  }
}

TEST(MemoryPlan, NegativeControlAMovedBufferIsCaught) {
  int caught = 0, tried = 0;
  for (unsigned seed = 0; seed < 50; ++seed) {
    const RandomCase c = random_case(seed);
    MemoryPlan plan = plan_memory(c.graph, types_of(c.graph), c.order, c.needs, {});
    for (Location& location : plan.values) location.offset = 0;  // everything on one spot
    ++tried;
    caught += overlaps(c.graph, c.order, plan, c.needs);
  }
  EXPECT_GT(caught, tried * 9 / 10);
}

TEST(MemoryPlan, ReusesMemory) {
  Graph graph;
  Value x = graph.source("x", {Shape{1000}, DType::f32}, Role::lane_input);
  for (int i = 0; i < 20; ++i) x = graph.add1(std::to_string(i), std::make_shared<TestOp>(1000), {x});
  const std::vector<NodeMemory> needs(20);
  const MemoryPlan plan = plan_memory(graph, types_of(graph), schedule(graph), needs, {});
  EXPECT_EQ(plan.size(Region::arena), 2 * aligned(4000));
}

TEST(Schedule, ReductionsRunAsSoonAsTheirInputsAreThere) {
  Graph graph;
  const Value x = graph.source("x", {Shape{4}, DType::f32}, Role::lane_input);
  const Value a = graph.add1("a", std::make_shared<TestOp>(4), {x});
  const Value b = graph.add1("b", std::make_shared<TestOp>(4), {a});
  graph.add1("c", std::make_shared<TestOp>(4), {b});
  const Value merged = graph.add1("merge", std::make_shared<TestOp>(4), {a});
  const Value total = graph.add1("reduce", std::make_shared<CollectiveOp>(4), {merged});
  graph.add1("update", std::make_shared<TestOp>(4), {total});
  std::string order;
  for (const Entry& entry : schedule(graph)) order += graph.node(entry.node).name + " ";
  EXPECT_EQ(order, "a merge reduce b c update ");
}

class QueueOp final : public TestOp {
 public:
  QueueOp(Queue queue, int64_t elements) : TestOp(elements), elements_(elements), queue_(queue) {}
  std::vector<Type> infer(std::span<const Type> in) const override {
    return elements_ ? TestOp::infer(in) : std::vector<Type>{};
  }
  Queue queue() const override { return queue_; }

 private:
  int64_t elements_;  // 0: no output
  Queue queue_;
};

/// Nodes by name, with what `synchronise` says of them.
struct Synchronised {
  Graph graph;
  Synchronisation sync;

  explicit Synchronised(Graph all) : graph(std::move(all)), sync(synchronise(graph, schedule(graph))) {}
  int node(std::string_view name) const {
    const auto& nodes = graph.nodes();
    return static_cast<int>(std::ranges::find(nodes, name, &Node::name) - nodes.begin());
  }
  const NodeSync& operator[](std::string_view name) const { return sync.nodes[node(name)]; }
};

using Nodes = std::vector<int>;

TEST(Synchronise, WhatReadsAReductionWaitsForIt) {
  Graph graph;
  const Value x = graph.source("x", {Shape{4}, DType::f32}, Role::lane_input);
  const Value a = graph.add1("a", std::make_shared<TestOp>(4), {x});
  const Value total = graph.add1("reduce", std::make_shared<CollectiveOp>(4), {a});
  graph.add1("update", std::make_shared<TestOp>(4), {total, a});
  const Synchronised all(std::move(graph));
  EXPECT_EQ(all["reduce"].queue, Queue::side);
  EXPECT_EQ(all["update"].queue, Queue::compute);
  EXPECT_EQ(all["update"].read_after_write, Nodes{all.node("reduce")});
  EXPECT_TRUE(all["a"].read_after_write.empty());
  EXPECT_TRUE(all.sync.before_update.empty());  // a reduction may go on
  EXPECT_EQ(all.sync.at_end, std::vector{Queue::side});
}

TEST(Synchronise, AnExchangeIsBesideTheKernelsWhereOneCanRunMeanwhile) {
  const auto exchange = [] { return std::make_shared<QueueOp>(Queue::exchange, 4); };
  for (const bool kernel_between : {false, true}) {
    Graph graph;
    const Value x = graph.source("x", {Shape{4}, DType::f32}, Role::lane_input);
    const Value a = graph.add1("a", std::make_shared<TestOp>(4), {x});
    const Value moved = graph.add1("exchange", exchange(), {a});
    if (kernel_between) graph.add1("other", std::make_shared<TestOp>(4), {a});
    graph.add1("reader", std::make_shared<TestOp>(4), {moved});
    graph.add1("unread", exchange(), {a});
    const Synchronised all(std::move(graph));
    EXPECT_EQ(all["exchange"].queue, kernel_between ? Queue::exchange : Queue::compute);
    EXPECT_EQ(all["exchange"].after_exchanges, !kernel_between);
    EXPECT_EQ(all["reader"].read_after_write, kernel_between ? Nodes{all.node("exchange")} : Nodes{});
    EXPECT_EQ(all.sync.dangling, Nodes{all.node("unread")});
    EXPECT_EQ(all.sync.before_update, std::vector{Queue::exchange});
  }
}

TEST(Synchronise, WhatIsSentIsNotWrittenBeforeItHasLeft) {
  Graph graph;
  const Value x = graph.source("x", {Shape{4}, DType::f32}, Role::lane_input);
  const Value a = graph.add1("a", std::make_shared<TestOp>(4), {x});
  const Value b = graph.add1("b", std::make_shared<TestOp>(4), {a});
  graph.add("send", std::make_shared<QueueOp>(Queue::forward, 0), {b});
  const Synchronised all(std::move(graph));
  EXPECT_EQ(all["b"].write_after_read, Nodes{all.node("send")});
  EXPECT_TRUE(all["a"].write_after_read.empty());
  EXPECT_EQ(all.sync.at_end, std::vector{Queue::forward});
}

/// y = x * x, in the sense of autodiff's bookkeeping only.
class SquareOp final : public TestOp {
 public:
  SquareOp() : TestOp(4) {}
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override {
    std::vector<Value> in = node.in;
    if (!dy.empty()) in.push_back(dy[0]);
    return std::vector<Value>(node.in.size(), graph.add1(node.name + "/grad", std::make_shared<TestOp>(4), in));
  }
};

TEST(Autodiff, SumsGradientsOfAValueThatIsReadTwice) {
  Graph graph;
  const Value p = graph.source("p", {Shape{4}, DType::f32}, Role::parameter);
  const Value unused = graph.source("q", {Shape{4}, DType::f32}, Role::parameter);
  const Value left = graph.add1("left", std::make_shared<SquareOp>(), {p});
  const Value right = graph.add1("right", std::make_shared<SquareOp>(), {p});
  const Value loss = graph.add1("loss", std::make_shared<SquareOp>(), {left, right});
  int sums = 0;
  const auto gradients = autodiff(graph, loss, [&](Graph& g, std::string name, Value a, Value b) {
    ++sums;
    return g.add1(std::move(name), std::make_shared<TestOp>(4), {a, b});
  });
  ASSERT_EQ(gradients.size(), 1U);
  EXPECT_EQ(gradients[0].parameter, p);
  EXPECT_NE(gradients[0].parameter, unused);
  EXPECT_EQ(graph.info(gradients[0].gradient).name, "p/grad_sum");
  EXPECT_EQ(sums, 1);
}

/// A weight gradient: sums over the batch.
class BatchSumOp final : public TestOp {
 public:
  explicit BatchSumOp(int64_t elements) : TestOp(elements) {}
  std::vector<Rule> rules() const override { return {{{shard(0)}, {partial}}}; }
};

struct Reductions {
  PlacedGraph placed;
  std::vector<Value> totals;
  FixedLocations sums;
};

Reductions three_sums() {
  Graph graph;
  const Value x = graph.source("x", {Shape{8, 3}, DType::f32}, Role::lane_input);
  std::vector<Value> terms;
  for (const int64_t elements : {100, 1000, 10})
    terms.push_back(graph.add1("sum" + std::to_string(elements), std::make_shared<BatchSumOp>(elements), {x}));
  Reductions r;
  PlacementRequest request{.sources = {{x, {shard(0)}}}};
  for (Value term : terms) request.sums.push_back({term});
  r.placed = propagate(graph, data_parallel(4), request, r.totals);
  size_t offset = 0;
  for (Value term : terms) {
    r.sums[term] = {Region::sum, offset};
    offset += aligned(graph.type(term).bytes());
  }
  return r;
}

TEST(Propagate, APartialGradientIsReducedOnce) {
  const Reductions r = three_sums();
  std::vector<std::vector<int>> reductions;
  for (const Node& node : r.placed.graph.nodes())
    if (const auto* reduce = dynamic_cast<const ReduceOp*>(node.op.get())) reductions.push_back(reduce->axes);
  EXPECT_EQ(reductions, std::vector<std::vector<int>>(3, {0}));
  EXPECT_EQ(r.placed.local[Value{0}].shape, (Shape{2, 3}));
  for (Value total : r.totals) EXPECT_EQ(r.placed.placement[total][0], replicate);
}

TEST(Propagate, RefusesABatchThatDoesNotDivide) {
  Graph graph;
  const Value x = graph.source("x", {Shape{6, 3}, DType::f32}, Role::lane_input);
  std::vector<Value> wanted;
  EXPECT_THROW(propagate(graph, data_parallel(4), {.sources = {{x, {shard(0)}}}}, wanted), InputError);
}

TEST(Buckets, AreRangesOfTheSums) {
  Reductions r = three_sums();
  FixedLocations fixed;
  const auto buckets = bucket_reductions(
      r.placed, {.sums = r.sums, .gradient_bytes = size_t{1} << 20, .first_bytes = 512, .bucket_bytes = 8192}, fixed);
  ASSERT_EQ(buckets.size(), 2U);  // the first closes after its 400 bytes, the other takes the rest
  EXPECT_EQ(buckets[0].begin, 0U);
  EXPECT_EQ(buckets[1].begin, aligned(400));
  EXPECT_EQ(buckets[1].end - buckets[1].begin, aligned(4000) + aligned(40));
  EXPECT_EQ(r.placed.graph.type(buckets[1].gradients).bytes(), aligned(4000) + aligned(40));
  int reshards = 0, reductions = 0;
  for (const Node& node : r.placed.graph.nodes()) {
    reshards += node.op->name() == "reshard";
    reductions += node.op->name() == "all_reduce";
  }
  EXPECT_EQ(reshards, 0);
  EXPECT_EQ(reductions, 2);
}

TEST(Buckets, TheLastOneTakesOtherSumsAlong) {
  Reductions r = three_sums();
  FixedLocations fixed;
  const size_t gradient_bytes = aligned(400) + aligned(4000);
  const auto buckets = bucket_reductions(r.placed, {.sums = r.sums, .gradient_bytes = gradient_bytes}, fixed);
  ASSERT_EQ(buckets.size(), 1U);
  EXPECT_EQ(buckets[0].end, gradient_bytes + aligned(40));
  EXPECT_EQ(r.placed.graph.type(buckets[0].gradients).bytes(), gradient_bytes);
  EXPECT_EQ(fixed.at(buckets[0].gradients).offset, 0U);
}

}  // namespace
}  // namespace lockstep
