// Memory plans of steps in which several lanes are in flight and values travel beside the kernels: every node finds
// what it reads as it was written, whenever what travels really moves.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <random>

#include "core/plan/memory.h"
#include "core/plan/schedule.h"
#include "parallel/mesh/stages.h"

namespace lockstep {
namespace {

class FlyingOp final : public Op {
 public:
  FlyingOp(int64_t elements, Queue queue, Reuse reuse) : elements_(elements), queue_(queue), reuse_(reuse) {}
  std::string_view name() const override { return "flying"; }
  std::vector<Type> infer(std::span<const Type>) const override {
    if (elements_ == 0) return {};
    return {{Shape{elements_}, DType::f32}};
  }
  std::vector<Rule> rules() const override { return {}; }
  Queue queue() const override { return queue_; }
  Reuse reuse() const override { return reuse_; }

 private:
  int64_t elements_;  // 0: no output
  Queue queue_;
  Reuse reuse_;
};

struct Case {
  Graph graph;
  std::vector<Type> types;
  std::vector<Entry> order;
  std::vector<NodeMemory> needs;
  std::vector<Turn> turns;
  int in_flight = 1;
};

Case random_case(unsigned seed) {
  std::mt19937 bits(seed);
  const auto pick = [&](int n) { return static_cast<int>(bits() % static_cast<unsigned>(n)); };
  Case c;
  std::vector<Value> values{c.graph.source("x", {Shape{64}, DType::f32}, Role::lane_input)};
  const int nodes = 4 + pick(30);
  const auto any = [&] { return values[static_cast<size_t>(pick(static_cast<int>(values.size())))]; };
  for (int i = 0; i < nodes; ++i) {
    c.graph.set_section({0, i < nodes / 2 ? Phase::forward : Phase::backward});
    const Queue queue = pick(4) == 0 ? Queue::exchange : Queue::compute;
    std::vector<Value> in{any()};
    for (int k = 0, n = pick(3); k < n && queue == Queue::compute; ++k) in.push_back(any());
    const bool source = c.graph.info(in[0]).producer < 0;
    const auto reuse = queue == Queue::exchange || source ? Reuse::none : static_cast<Reuse>(pick(3));
    const int64_t elements = reuse == Reuse::view ? c.graph.type(in[0]).shape[0] : 1 + pick(500);
    values.push_back(c.graph.add1(std::to_string(i), std::make_shared<FlyingOp>(elements, queue, reuse), in));
    c.needs.push_back({static_cast<size_t>(pick(2) * pick(900)), 0});
    if (pick(6) > 0) continue;
    const Value copy =
        c.graph.add1(std::to_string(i) + "c", std::make_shared<FlyingOp>(50, Queue::compute, Reuse::none), {any()});
    c.graph.add(std::to_string(i) + "s", std::make_shared<FlyingOp>(0, Queue::forward, Reuse::none), {copy});
    c.needs.resize(c.needs.size() + 2);
  }
  for (const ValueInfo& info : c.graph.values()) c.types.push_back(info.type);
  c.turns = turns_of(static_cast<PipelineSchedule>(pick(2)), pick(3), 3, 1 + pick(5));
  c.in_flight = lanes_in_flight(c.turns);
  c.order = schedule(c.graph, true);
  return c;
}

/// Runs the turns over memory that holds who wrote it last.
class Simulation {
 public:
  /// With `late`, what travels moves when somebody waits for it; else at once.
  Simulation(const Case& c, const MemoryPlan& plan, int in_flight, bool late)
      : c_(c), plan_(plan), in_flight_(in_flight), late_(late) {}

  /// The first node that does not find what it reads; empty where there is none.
  std::string run() {
    for (const Turn& turn : c_.turns)
      for (const Entry& entry : c_.order)
        if (entry.phase == turn.phase) node(entry.node, turn.lane);
    flush_all();
    return wrong_;
  }

 private:
  using Where = std::pair<size_t, size_t>;  // a region's copy, and a granule of 256 bytes
  struct Flight {
    int node, lane;
    int work;  // who has written its workspace
  };

  const Node& at(int node) const { return c_.graph.node(node); }

  std::vector<Where> granules(const Location& location, size_t bytes, int lane) const {
    const size_t copy = location.region == Region::stash ? 1 + static_cast<size_t>(lane % in_flight_) : 0;
    std::vector<Where> all;
    for (size_t at = 0; at < aligned(bytes); at += 256) all.push_back({copy, (location.offset + at) / 256});
    return all;
  }
  std::vector<Where> value(Value v, int lane) const {
    return granules(plan_.values[v], c_.types[static_cast<size_t>(v.id)].bytes(), lane);
  }
  std::vector<Where> workspace(int node) const {
    return granules({Region::arena, plan_.nodes[node].workspace}, c_.needs[static_cast<size_t>(node)].workspace, 0);
  }

  void expect(const std::vector<Where>& where, int writer, int node) {
    for (const Where& one : where)
      if (memory_[one] != writer && wrong_.empty()) wrong_ = at(node).name;
  }
  int write(const std::vector<Where>& where) {
    ++writers_;
    for (const Where& one : where) memory_[one] = writers_;
    return writers_;
  }

  void read(int node, int lane) {
    for (Value v : at(node).in)
      if (c_.graph.info(v).producer >= 0) expect(value(v, lane), written_[{v.id, lane}], node);
  }
  void make(int node, int lane) {
    for (Value v : at(node).out) {
      if (at(node).op->reuse() == Reuse::view)
        written_[{v.id, lane}] = written_[{at(node).in[0].id, lane}];
      else
        written_[{v.id, lane}] = write(value(v, lane));
    }
  }

  /// Whether a kernel reads what travels.
  bool waited_for(int exchange) const {
    return std::ranges::any_of(c_.graph.readers(at(exchange).out[0]), [&](int reader) {
      return at(reader).op->queue() == Queue::exchange ? waited_for(reader) : true;
    });
  }

  void node(int index, int lane) {
    const Node& one = at(index);
    if (one.op->queue() == Queue::exchange && !waited_for(index)) return;  // no plan has such
    if (one.op->queue() != Queue::compute) {
      Flight flight{index, lane, 0};
      auto& flights = leaves(*one.op) ? sends_ : exchanges_;
      if (!late_) {  // after those before it
        while (!flights.empty()) land(flights);
        move(flight);
      }
      flights.push_back(flight);
      return;
    }
    for (Value v : one.in)  // waits: the stream carries them out in order
      if (const int maker = c_.graph.info(v).producer; maker >= 0 && at(maker).op->queue() == Queue::exchange)
        while (std::ranges::find_if(exchanges_, [&](const Flight& f) { return f.node == maker && f.lane == lane; }) !=
               exchanges_.end())
          land(exchanges_);
    for (Value v : one.out)  // what was sent from here must have left
      while (std::ranges::find_if(sends_, [&](const Flight& f) {
               return at(f.node).in[0] == v && f.lane % in_flight_ == lane % in_flight_;
             }) != sends_.end())
        land(sends_);
    read(index, lane);
    if (one.op->reuse() != Reuse::view) write(workspace(index));
    make(index, lane);
  }

  void move(Flight& flight) {
    read(flight.node, flight.lane);
    flight.work = write(workspace(flight.node));
    make(flight.node, flight.lane);
  }
  void land(std::deque<Flight>& flights) {
    Flight flight = flights.front();
    flights.pop_front();
    if (late_) return move(flight);
    // It may have taken until now.
    read(flight.node, flight.lane);
    expect(workspace(flight.node), flight.work, flight.node);
    for (Value v : at(flight.node).out) expect(value(v, flight.lane), written_[{v.id, flight.lane}], flight.node);
  }
  void flush_all() {
    while (!sends_.empty()) land(sends_);
    exchanges_.clear();  // nobody reads them
  }

  const Case& c_;
  const MemoryPlan& plan_;
  int in_flight_;
  bool late_;
  std::map<Where, int> memory_;
  std::map<std::pair<int, int>, int> written_;  // by value and lane
  int writers_ = 0;
  std::deque<Flight> exchanges_, sends_;
  std::string wrong_;
};

MemoryPlan plan_of(const Case& c) { return plan_memory(c.graph, c.types, c.order, c.needs, {}, c.in_flight); }

TEST(Flight, EveryNodeFindsWhatItReads) {
  for (unsigned seed = 0; seed < 2000; ++seed) {
    const Case c = random_case(seed);
    const MemoryPlan plan = plan_of(c);
    for (const bool late : {false, true})
      ASSERT_EQ(Simulation(c, plan, c.in_flight, late).run(), "") << "seed " << seed << " late " << late;
  }
}

TEST(Flight, NegativeControlsAreCaught) {
  int fewer = 0, few_cases = 0, ends_early = 0, early_cases = 0;
  for (unsigned seed = 0; seed < 300; ++seed) {
    Case c = random_case(seed);
    const MemoryPlan plan = plan_of(c);
    if (c.in_flight > 1 && plan.size(Region::stash) > 0) {  // one copy too few
      ++few_cases;
      fewer += !Simulation(c, plan, c.in_flight - 1, false).run().empty();
    }
    // A plan that thinks that all in flight is done at once.
    Case still = c;
    Graph graph = c.graph.without_nodes();
    bool flies = false;
    for (Node node : c.graph.nodes()) {
      if (node.op->queue() == Queue::exchange) {
        flies = true;
        node.op = std::make_shared<FlyingOp>(c.graph.type(node.out[0]).shape[0], Queue::compute, Reuse::none);
      }
      graph.append(std::move(node));
    }
    still.graph = std::move(graph);
    const MemoryPlan rash = plan_of(still);
    if (!flies) continue;
    ++early_cases;
    for (const bool late : {false, true})
      if (!Simulation(c, rash, c.in_flight, late).run().empty()) {
        ++ends_early;
        break;
      }
  }
  EXPECT_GT(fewer, few_cases / 2);
  EXPECT_GT(ends_early, early_cases / 4);
}

}  // namespace
}  // namespace lockstep
