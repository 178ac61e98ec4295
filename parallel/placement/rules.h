// An operator's placement rules for the values of one node. Pure functions: any thread.
#pragma once

#include <vector>

#include "core/graph/graph.h"
#include "parallel/mesh/strategy.h"

namespace lockstep {

/// Those that the ranks of the node's values allow, with their last dimensions by number; without those that would cut
/// images of one row or column there.
std::vector<Rule> rules_of(const Graph& graph, const Node& node);

/// The same, as they are along an axis: what the strategy lets another axis cut is not followed there, and so never cut
/// twice.
std::vector<Rule> rules_along(const Graph& graph, const Strategy& strategy, const Node& node, size_t axis);

/// The slices of a value's dimension for the members of an axis. Throws InputError where it has too few elements, or
/// where lanes are shared out and do not divide evenly.
Slices even_shares(const ValueInfo& info, const Axis& along, bool lanes, int dim);

/// Of a rule with windows over dimension `dim`: the value that is cut into even slices there, which is the outputs of a
/// window, or their gradient.
Value seen_through(const Node& node, const Rule& rule, int dim);

/// Throws InputError where the rules, one an axis, would cut a value of the node along one dimension by two axes.
void check_cuts(const Graph& graph, const Strategy& strategy, const Node& node, const std::vector<Rule>& rules);

/// For a pin that no node could follow along the axis: throws InputError that says what its nodes can be cut by, unless
/// it asks for no cut.
void refuse_unused(const Graph& graph, const Strategy& strategy, const Pin& pin, size_t axis);

/// Why the members of an axis cannot share what the rule cuts (too few groups, filters or channels), naming the node,
/// the sizes and the axis; empty where they can.
std::string cannot_share(const Graph& graph, const Node& node, const Rule& rule, const Axis& axis);

/// Whether the rule makes rows of its one output from a window of its first input's rows.
bool cuts_rows(const Rule& rule);
/// Where `seen` is a value's rows with a halo of more along the axis: that value; else none.
Value before_halo(const Graph& graph, Value seen, size_t axis);

}  // namespace lockstep
