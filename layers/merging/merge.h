// What the layers that merge inputs of one shape share. Any thread.
#pragma once

#include <functional>

#include "layers/base/layer.h"

namespace lockstep {

/// Chooses the operator for two values, and may swap them.
using MergeOp = std::function<std::shared_ptr<const Op>(Value& merged, Value& next)>;

/// Two or more inputs, merged one after the other in nodes with the suffixes `suffix`, `suffix`2, … Throws InputError
/// where there are fewer.
Value merge(Builder& builder, const Layer& layer, std::span<const Value> in, const MergeOp& op,
            const std::string& suffix = "");
/// By one operator.
Value merge(Builder& builder, const Layer& layer, std::span<const Value> in, const std::shared_ptr<const Op>& op,
            const std::string& suffix = "");

}  // namespace lockstep
