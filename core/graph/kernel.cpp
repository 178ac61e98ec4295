#include "core/graph/kernel.h"

#include "core/error.h"

namespace lockstep {

Kernel KernelTable::make(const Op& op, const Signature& signature) const {
  if (const auto found = makers_.find(typeid(op)); found != makers_.end()) return found->second(op, signature);
  if (auto kernel = family_ ? family_(op, signature) : std::nullopt) return *std::move(kernel);
  throw Error("no kernel for operator {} in this backend", op.name());
}

}  // namespace lockstep
