#include "layers/merging/merge.h"

#include "core/error.h"

namespace lockstep {

Value merge(Builder& builder, const Layer& layer, std::span<const Value> in, const MergeOp& op,
            const std::string& suffix) {
  if (in.size() < 2)
    throw InputError("layer '{}': {} takes at least 2 inputs, {} were given", builder.layer(), layer.type(), in.size());
  Value merged = in[0];
  for (size_t i = 1; i < in.size(); ++i) {
    Value next = in[i];
    const std::shared_ptr<const Op> chosen = op(merged, next);
    merged = builder.add1(i == 1 ? suffix : fmt::format("{}{}", suffix, i), chosen, {merged, next});
  }
  return merged;
}

Value merge(Builder& builder, const Layer& layer, std::span<const Value> in, const std::shared_ptr<const Op>& op,
            const std::string& suffix) {
  return merge(
      builder, layer, in, [&](Value&, Value&) { return op; }, suffix);
}

}  // namespace lockstep
