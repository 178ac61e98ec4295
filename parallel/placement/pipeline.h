// Pass: leaves a placed graph what one stage of a pipeline computes, and lets it send and receive the rest.
#pragma once

#include "parallel/placement/propagate.h"

namespace lockstep {

/// Keeps the nodes of `stage` (see Section). What another stage reads of them is sent where it is made; what they read
/// of another is received at the same place in the order, which is the same on all stages. `everywhere` goes to all
/// stages. Inputs that nobody here reads are no inputs any more. Value ids stay valid; what is neither made nor
/// received here is made by nobody.
void split_stages(PlacedGraph& placed, int stage, int stages, std::span<const Value> everywhere);

}  // namespace lockstep
