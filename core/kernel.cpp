#include "core/kernel.h"

#include "core/error.h"

namespace lockstep {

Kernel KernelTable::make(const Op& op, const Signature& signature) const {
  const auto found = makers_.find(typeid(op));
  if (found == makers_.end()) throw Error("no kernel for operator {} in this backend", op.name());
  return found->second(op, signature);
}

}  // namespace lockstep
