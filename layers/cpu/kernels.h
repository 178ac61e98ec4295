// The CPU's kernels: one `make` an operator, each defined in layers/cpu/<room>/<op>.cpp, all listed in layers/list.inc.
#pragma once

#include "core/graph/kernel.h"

namespace lockstep {

#define LOCKSTEP_OP(Class) class Class;
#include "layers/list.inc"

namespace cpu {
#define LOCKSTEP_OP(Class) Kernel make(const Class& op, const Signature& signature);
#include "layers/list.inc"
}  // namespace cpu

/// All of them.
const KernelTable& cpu_kernels();

}  // namespace lockstep
