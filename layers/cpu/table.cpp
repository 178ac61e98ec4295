#include "layers/cpu/kernels.h"
#include "layers/ops.h"

namespace lockstep {

const KernelTable& cpu_kernels() {
  static const KernelTable table = [] {
    KernelTable kernels;
#define LOCKSTEP_OP(Class) \
  kernels.add<Class>([](const Class& op, const Signature& signature) { return cpu::make(op, signature); });
#include "layers/list.inc"
    return kernels;
  }();
  return table;
}

}  // namespace lockstep
