// Pass: says which stream each node of a scheduled graph runs on, and what it waits for. Nothing is enqueued here.
#pragma once

#include "core/graph/graph.h"
#include "core/graph/per_id.h"
#include "core/plan/schedule.h"

namespace lockstep {

/// What is in one stream runs in the order of the schedule. A node beside the kernels also waits for all kernels that
/// were enqueued before it.
struct NodeSync {
  Queue queue = Queue::compute;       // the stream that it runs on
  std::vector<int> read_after_write;  // nodes beside the kernels that make what it reads
  std::vector<int> write_after_read;  // nodes that send to another stage what it overwrites
  bool after_exchanges = false;       // an exchange among the kernels: those beside them come first
  bool beside() const { return queue != Queue::compute; }
};

struct Synchronisation {
  PerNode<NodeSync> nodes;
  std::vector<int> dangling;         // exchanges that no node waits for: a lane's turn ends after them
  std::vector<Queue> before_update;  // streams that what runs after the lanes waits for
  std::vector<Queue> at_end;         // streams that the step's end waits for
};

/// The stream is the operator's, except for an exchange with no kernel to run beside it before the first that waits for
/// it: that one runs among the kernels.
Synchronisation synchronise(const Graph& graph, std::span<const Entry> order);

}  // namespace lockstep
