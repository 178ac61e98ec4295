#include "core/plan/memory.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace lockstep {

namespace {

/// A stretch of the arena: bytes that must not be shared between the schedule positions `first` and `last`.
struct Block {
  size_t bytes = 0;
  int first = 0, last = 0;
  size_t offset = 0;
  bool leaves = false;  // it is sent while other work goes on
  bool workspace = false;
  bool stashed = false;  // it lies beside the arena
};

/// The largest first, each at the lowest offset that is free during its life.
void fit_into_arena(std::vector<Block>& blocks, size_t& arena_bytes) {
  std::vector<size_t> by_size(blocks.size());
  std::iota(by_size.begin(), by_size.end(), size_t{0});
  std::ranges::stable_sort(by_size, std::ranges::greater{}, [&](size_t i) { return blocks[i].bytes; });
  std::vector<const Block*> placed;  // by offset
  for (size_t i : by_size) {
    Block& block = blocks[i];
    if (block.stashed) continue;
    size_t offset = 0;
    for (const Block* other : placed) {
      if (other->last < block.first || block.last < other->first) continue;
      if (offset + block.bytes <= other->offset) break;
      offset = std::max(offset, other->offset + other->bytes);
    }
    block.offset = offset;
    arena_bytes = std::max(arena_bytes, offset + block.bytes);
    placed.insert(std::ranges::upper_bound(placed, offset, {}, [](const Block* b) { return b->offset; }), &block);
  }
}

Region region_of(Role role) {
  switch (role) {
    case Role::activation:
      return Region::arena;
    case Role::lane_input:
      return Region::lane_input;
    case Role::step_input:
      return Region::step_input;
    case Role::output:
      return Region::output;
    case Role::parameter:
      return Region::parameter;
    case Role::state:
      return Region::state;
    case Role::slot:
      return Region::slot;
    case Role::sum:
      return Region::sum;
  }
  return Region::arena;
}

/// What plan_memory was given.
struct Given {
  const Graph& graph;
  const PerValue<Type>& local;
  std::span<const Entry> order;
  const PerNode<NodeMemory>& needs;
  const FixedLocations& fixed;
  int in_flight;

  const Node& node(int index) const { return graph.node(index); }
  size_t bytes(Value value) const { return local[value].bytes(); }
  Region region(Value value) const {
    const auto found = fixed.find(value);
    return found != fixed.end() ? found->second.region : region_of(graph.info(value).role);
  }
  int end() const { return static_cast<int>(order.size()) - 1; }
};

/// Positions in the schedule.
struct Lifetimes {
  PerNode<int> position;
  PerNode<int> until;      // the last at which the node may still touch what it reads and writes
  PerValue<int> last_use;  // -1 where nobody reads it
};

Lifetimes lifetimes(const Given& given) {
  Lifetimes live{.position = PerNode<int>(given.graph.nodes().size()),
                 .until = {},
                 .last_use = PerValue<int>(given.graph.values().size(), -1)};
  for (int at = 0; at <= given.end(); ++at) {
    const int node = given.order[static_cast<size_t>(at)].node;
    live.position[node] = at;
    for (Value v : given.node(node).in) live.last_use[v] = at;
  }
  // What travels beside the kernels may be touched until the first kernel that waits for it.
  live.until = live.position;
  for (auto entry = given.order.rbegin(); entry != given.order.rend(); ++entry) {
    const Node& node = given.node(entry->node);
    if (node.op->queue() != Queue::exchange) continue;
    int& until = live.until[entry->node];
    until = given.end();
    for (const int reader : given.graph.readers(node.out[0])) until = std::min(until, live.until[reader]);
    for (Value v : node.in) live.last_use[v] = std::max(live.last_use[v], until);
  }
  return live;
}

/// Whose bytes a value has. All but `root` and `around` are said of roots alone.
struct Alias {
  Value root;             // the value itself where its bytes are its own
  int block = -1;         // where it lies in none that is placed here
  size_t inside = 0;      // where its bytes begin in their block
  bool enclosed = false;  // another value lies around it
  bool around = false;    // it is the whole of a block that its input lies in
};

struct Aliases {
  PerValue<Alias> values;
  std::vector<Block> blocks;

  Alias& root(Value value) { return values[values[value].root]; }
  Block* block(Value value) {
    const int block = root(value).block;
    return block >= 0 ? &blocks[static_cast<size_t>(block)] : nullptr;
  }
};

/// Lets output `k` of a node lie where its first input lies, where it may; says whether it does.
bool shares(const Given& given, const Lifetimes& live, const Node& node, size_t k, int at, Aliases& aliases) {
  if (k > 0 || node.in.empty()) return false;
  const Value in = node.in[0], out = node.out[0], root = aliases.values[in].root;
  Block* block = given.region(root) == Region::arena ? aliases.block(in) : nullptr;
  const auto offset = node.op->surrounds(given.local[in], given.local[out]);
  if (offset && *offset % aligned(1) == 0 && block && !aliases.root(in).enclosed) {
    aliases.root(in).enclosed = true;
    aliases.root(in).inside = *offset;
    aliases.values[out].around = true;
    block->bytes = aligned(given.bytes(out));
  } else if (node.op->reuse() == Reuse::in_place) {
    const bool dies_here = block && block->last <= at && !aliases.values[in].around &&
                           std::ranges::count_if(node.in, [&](Value v) { return aliases.values[v].root == root; }) == 1;
    if (!dies_here || given.bytes(root) != given.bytes(out)) return false;
  } else if (node.op->reuse() != Reuse::view) {
    return false;
  }
  aliases.values[out].root = root;
  if (block) block->last = std::max(block->last, live.last_use[out]);
  return true;
}

Aliases aliases(const Given& given, const Lifetimes& live) {
  Aliases all;
  for (Value v{0}; given.graph.has(v); ++v.id) all.values.push_back({.root = v});
  for (const Entry& entry : given.order) {
    const Node& node = given.node(entry.node);
    const int at = live.position[entry.node];
    for (size_t k = 0; k < node.out.size(); ++k) {
      const Value out = node.out[k];
      if (given.region(out) != Region::arena) {
        if (k == 0 && node.op->reuse() == Reuse::view)
          throw Error("{}: a view cannot be kept as {}", node.name, given.graph.info(out).name);
        continue;
      }
      if (shares(given, live, node, k, at, all)) continue;
      all.values[out].block = static_cast<int>(all.blocks.size());
      all.blocks.push_back({aligned(given.bytes(out)), at, std::max(at, live.last_use[out])});
    }
  }
  return all;
}

/// Gives the blocks of values, and those of workspaces after them, their offsets in the arena and in the stash.
void place_blocks(const Given& given, const Lifetimes& live, Aliases& all, MemoryPlan& plan) {
  std::vector<int> with_workspace;
  const size_t of_values = all.blocks.size();
  for (const Entry& entry : given.order) {
    const Node& node = given.node(entry.node);
    const NodeMemory& needs = given.needs[entry.node];
    plan.nodes[entry.node].packed = plan.size(Region::packed);
    plan.size(Region::packed) += aligned(needs.packed);
    if (leaves(*node.op))
      for (Value v : node.in)
        if (Block* block = all.block(v)) block->leaves = true;
    if (needs.workspace == 0) continue;
    with_workspace.push_back(entry.node);
    all.blocks.push_back({.bytes = aligned(needs.workspace),
                          .first = live.position[entry.node],
                          .last = live.until[entry.node],
                          .workspace = true});
  }
  const auto phase = [&](int at) { return given.order[static_cast<size_t>(at)].phase; };
  for (Block& block : all.blocks) {
    const bool spans = given.in_flight > 1 && phase(block.first) != phase(block.last);
    if (block.leaves || (spans && block.workspace)) {  // other lanes' turns may lie in between
      block.first = 0;
      block.last = given.end();
    }
    block.stashed = !block.workspace && (spans || (given.in_flight > 1 && block.leaves));
    if (!block.stashed) continue;
    block.offset = plan.size(Region::stash);
    plan.size(Region::stash) += block.bytes;
  }
  fit_into_arena(all.blocks, plan.size(Region::arena));
  for (size_t i = 0; i < with_workspace.size(); ++i)
    plan.nodes[with_workspace[i]].workspace = all.blocks[of_values + i].offset;
}

MemoryPlan placement(const Given& given, const Lifetimes& live, Aliases all) {
  MemoryPlan plan{.values = PerValue<Location>(given.graph.values().size()),
                  .nodes = PerNode<NodePlace>(given.graph.nodes().size())};
  place_blocks(given, live, all, plan);
  for (Value v{0}; given.graph.has(v); ++v.id) {
    const Alias& alias = all.values[v];
    if (alias.root != v) continue;
    const Region region = given.region(v);
    if (const auto found = given.fixed.find(v); found != given.fixed.end()) {
      plan.values[v] = found->second;
      size_t& size = plan.size(region);
      size = std::max(size, found->second.offset + aligned(given.bytes(v)));
    } else if (const Block* block = all.block(v)) {
      plan.values[v] = {block->stashed ? Region::stash : Region::arena, block->offset + alias.inside};
    } else if (region != Region::arena) {
      plan.values[v] = {region, plan.size(region)};
      plan.size(region) += aligned(given.bytes(v));
    }
  }
  for (Value v{0}; given.graph.has(v); ++v.id) {
    plan.values[v] = plan.values[all.values[v].root];
    if (all.values[v].around) plan.values[v].offset -= all.root(v).inside;
  }
  return plan;
}

}  // namespace

MemoryPlan plan_memory(const Graph& graph, const PerValue<Type>& local, std::span<const Entry> order,
                       const PerNode<NodeMemory>& needs, const FixedLocations& fixed, int in_flight) {
  const Given given{graph, local, order, needs, fixed, in_flight};
  const Lifetimes live = lifetimes(given);
  return placement(given, live, aliases(given, live));
}

}  // namespace lockstep
