#include "parallel/placement/pipeline.h"

#include <fmt/format.h>

#include <set>

#include "parallel/collectives/pass.h"

namespace lockstep {

namespace {

class Split {
 public:
  Split(PlacedGraph& placed, int stage, int stages, std::span<const Value> everywhere)
      : placed_(placed), stage_(stage), mine_(placed.graph.without_nodes()), readers_(placed.graph.values().size()) {
    for (const Node& node : placed.graph.nodes())
      for (Value v : node.in) readers_[v].insert(node.section.stage);
    for (Value v : everywhere)
      for (int other = 0; other < stages; ++other) readers_[v].insert(other);
  }

  void run() {
    for (const Node& node : placed_.graph.nodes()) {
      if (node.section.stage == stage_) mine_.append(node);
      for (Value v : node.out) pass(node, v);
    }
    for (Value v{0}; mine_.has(v); ++v.id)
      if (mine_.info(v).role == Role::lane_input && mine_.readers(v).empty()) mine_.set_role(v, Role::activation);
    placed_.graph = std::move(mine_);
  }

 private:
  void pass(const Node& node, Value v) {
    const int from = node.section.stage;
    Value copy;
    for (const int to : readers_[v]) {
      if (to == from || (from != stage_ && to != stage_)) continue;
      const Queue queue = to > from ? Queue::forward : Queue::backward;
      const std::string name = placed_.graph.info(v).name;
      if (to == stage_) {
        mine_.append({fmt::format("{}/from stage {}", name, from),
                      std::make_shared<ReceiveOp>(from, queue, placed_.graph.type(v)),
                      {},
                      {v},
                      {stage_, node.section.phase}});
        continue;
      }
      mine_.set_section(node.section);
      if (!copy) {
        copy = mine_.add1(name + "/hand_over", std::make_shared<HandOverOp>(), {v});
        placed_.record(Type(placed_.local[v]), Placements(placed_.placement[v]),
                       std::vector<Slices>(placed_.slices[v]));
      }
      mine_.add(fmt::format("{}/to stage {}", name, to), std::make_shared<SendOp>(to, queue), {copy});
    }
    mine_.set_section({});
  }

  PlacedGraph& placed_;
  int stage_;
  Graph mine_;
  PerValue<std::set<int>> readers_;  // stages
};

}  // namespace

void split_stages(PlacedGraph& placed, int stage, int stages, std::span<const Value> everywhere) {
  Split(placed, stage, stages, everywhere).run();
}

}  // namespace lockstep
