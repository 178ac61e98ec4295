// Pass: batch norm of images that are cut in height or width, before autodiff.
#pragma once

#include <functional>

#include "core/graph/graph.h"
#include "layers/normalization/batch_norm_parts.h"

namespace lockstep {

/// Rewrites the forward graph: where images are cut, by what `parts` says of a node's name, a batch_norm becomes
///   batch_norm_moments → batch_norm_apply
/// so that a few numbers a channel have to move, and no image. The new operators and their gradients are
/// batch_norm_parts.h's. Values keep their ids; the moments are a new one. Left as it is: what is no image, and an
/// image with fewer rows or columns than parts.
void split_norms(Graph& graph, const std::function<ImageParts(const std::string& node)>& parts);

}  // namespace lockstep
