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

void place_blocks(std::vector<Block>& blocks, size_t& arena_bytes) {
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
    case Role::Activation:
      return Region::Arena;
    case Role::LaneInput:
      return Region::LaneInput;
    case Role::StepInput:
      return Region::StepInput;
    case Role::Output:
      return Region::Output;
    case Role::Parameter:
      return Region::Parameter;
    case Role::State:
      return Region::State;
    case Role::Slot:
      return Region::Slot;
    case Role::Sum:
      return Region::Sum;
  }
  return Region::Arena;
}

}  // namespace

MemoryPlan plan_memory(const Graph& graph, std::span<const Type> local, std::span<const Entry> order,
                       std::span<const NodeMemory> needs, const FixedLocations& fixed, int in_flight) {
  const auto& nodes = graph.nodes();
  const auto& values = graph.values();
  MemoryPlan plan;
  plan.values.resize(values.size());
  plan.workspace.resize(nodes.size());
  plan.packed.resize(nodes.size());

  std::vector<int> position(nodes.size()), last_use(values.size(), -1);
  for (size_t at = 0; at < order.size(); ++at) {
    const auto node = static_cast<size_t>(order[at].node);
    position[node] = static_cast<int>(at);
    for (Value v : nodes[node].in) last_use[static_cast<size_t>(v.id)] = static_cast<int>(at);
  }

  // What travels beside the kernels may be touched until the first kernel that waits for it.
  std::vector<int> until = position;
  for (auto entry = order.rbegin(); entry != order.rend(); ++entry) {
    const auto node = static_cast<size_t>(entry->node);
    if (nodes[node].op->queue() != Queue::Exchange) continue;
    until[node] = static_cast<int>(order.size()) - 1;
    for (const int reader : graph.readers(nodes[node].out[0]))
      until[node] = std::min(until[node], until[static_cast<size_t>(reader)]);
    for (Value v : nodes[node].in) {
      int& last = last_use[static_cast<size_t>(v.id)];
      last = std::max(last, until[node]);
    }
  }

  // `root` of a value is the value whose bytes it shares; itself where it has its own.
  std::vector<int> root(values.size());
  std::iota(root.begin(), root.end(), 0);
  std::vector<int> block_of(values.size(), -1);
  std::vector<size_t> inside(values.size());  // by root: where its bytes begin in their block
  std::vector<bool> enclosed(values.size());  // by root: whether another value lies around it
  std::vector<bool> around(values.size());    // whether a value is the whole of a block that its input lies in
  std::vector<Block> blocks;
  const auto region = [&](size_t v) {
    return fixed.contains(static_cast<int>(v)) ? fixed.at(static_cast<int>(v)).region : region_of(values[v].role);
  };

  for (const Entry& entry : order) {
    const Node& node = nodes[static_cast<size_t>(entry.node)];
    const int at = position[static_cast<size_t>(entry.node)];
    for (size_t k = 0; k < node.out.size(); ++k) {
      const auto out = static_cast<size_t>(node.out[k].id);
      const Reuse reuse = k == 0 ? node.op->reuse() : Reuse::None;
      if (region(out) != Region::Arena) {
        if (reuse == Reuse::View) throw Error("{}: a view cannot be kept as {}", node.name, values[out].name);
        continue;
      }
      const auto in = node.in.empty() ? out : static_cast<size_t>(root[static_cast<size_t>(node.in[0].id)]);
      const bool dies_here =
          !node.in.empty() && region(in) == Region::Arena && !around[static_cast<size_t>(node.in[0].id)] &&
          block_of[in] >= 0 && blocks[static_cast<size_t>(block_of[in])].last <= at &&
          std::ranges::count_if(node.in,
                                [&](Value v) { return root[static_cast<size_t>(v.id)] == static_cast<int>(in); }) == 1;
      if (const auto offset = k == 0 && !node.in.empty()
                                  ? node.op->surrounds(local[static_cast<size_t>(node.in[0].id)], local[out])
                                  : std::nullopt;
          offset && *offset % aligned(1) == 0 && region(in) == Region::Arena && block_of[in] >= 0 && !enclosed[in]) {
        enclosed[in] = true;
        inside[in] = *offset;
        root[out] = static_cast<int>(in);
        around[out] = true;
        Block& block = blocks[static_cast<size_t>(block_of[in])];
        block.bytes = aligned(local[out].bytes());
        block.last = std::max(block.last, last_use[out]);
        continue;
      }
      const bool share =
          reuse == Reuse::View || (reuse == Reuse::InPlace && dies_here && local[in].bytes() == local[out].bytes());
      if (share) {
        root[out] = static_cast<int>(in);
        if (block_of[in] >= 0) {
          Block& block = blocks[static_cast<size_t>(block_of[in])];
          block.last = std::max(block.last, last_use[out]);
        }
        continue;
      }
      block_of[out] = static_cast<int>(blocks.size());
      blocks.push_back({aligned(local[out].bytes()), at, std::max(at, last_use[out]), 0});
    }
  }
  std::vector<int> workspace_block(nodes.size(), -1);
  for (const Entry& entry : order) {
    const auto node = static_cast<size_t>(entry.node);
    plan.packed[node] = plan.size(Region::Packed);
    plan.size(Region::Packed) += aligned(needs[node].packed);
    if (needs[node].workspace == 0) continue;
    workspace_block[node] = static_cast<int>(blocks.size());
    blocks.push_back({aligned(needs[node].workspace), position[node], until[node], 0, false, true});
  }
  for (const Entry& entry : order) {
    const Node& node = nodes[static_cast<size_t>(entry.node)];
    if (!leaves(*node.op)) continue;
    for (Value v : node.in)
      if (const int block = block_of[static_cast<size_t>(root[static_cast<size_t>(v.id)])]; block >= 0)
        blocks[static_cast<size_t>(block)].leaves = true;
  }
  const auto phase = [&](int at) { return order[static_cast<size_t>(at)].phase; };
  for (Block& block : blocks) {
    const bool spans = in_flight > 1 && phase(block.first) != phase(block.last);
    if (block.leaves || (spans && block.workspace)) {  // other lanes' turns may lie in between
      block.first = 0;
      block.last = static_cast<int>(order.size()) - 1;
    }
    block.stashed = !block.workspace && (spans || (in_flight > 1 && block.leaves));
    if (!block.stashed) continue;
    block.offset = plan.size(Region::Stash);
    plan.size(Region::Stash) += block.bytes;
  }
  place_blocks(blocks, plan.size(Region::Arena));

  for (size_t v = 0; v < values.size(); ++v) {
    const auto own = static_cast<size_t>(root[v]);
    if (own != v) continue;
    if (const auto found = fixed.find(static_cast<int>(v)); found != fixed.end()) {
      plan.values[v] = found->second;
      size_t& size = plan.size(found->second.region);
      size = std::max(size, found->second.offset + aligned(local[v].bytes()));
    } else if (block_of[v] >= 0) {
      const Block& block = blocks[static_cast<size_t>(block_of[v])];
      plan.values[v] = {block.stashed ? Region::Stash : Region::Arena, block.offset + inside[v]};
    } else if (region(v) != Region::Arena) {
      size_t& size = plan.size(region(v));
      plan.values[v] = {region(v), size};
      size += aligned(local[v].bytes());
    }
  }
  for (size_t v = 0; v < values.size(); ++v) {
    const auto own = static_cast<size_t>(root[v]);
    plan.values[v] = plan.values[own];
    if (around[v]) plan.values[v].offset -= inside[own];
  }
  for (size_t node = 0; node < nodes.size(); ++node)
    if (workspace_block[node] >= 0) plan.workspace[node] = blocks[static_cast<size_t>(workspace_block[node])].offset;
  return plan;
}

}  // namespace lockstep
