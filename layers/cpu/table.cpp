#include <algorithm>
#include <type_traits>

#include "core/error.h"
#include "core/graph/register_kernel.h"
#include "layers/cpu/kernels.h"
#include "layers/ops.h"

namespace lockstep {

namespace {

bool has_16_bits(const std::vector<Type>& types) {
  return std::ranges::any_of(types, [](const Type& t) { return t.dtype == DType::f16 || t.dtype == DType::bf16; });
}

template <class OpClass>
Kernel make_in_32_bits(const OpClass& op, const Signature& signature) {
  if (!std::is_same_v<OpClass, CastOp> && (has_16_bits(signature.in) || has_16_bits(signature.out)))
    throw InputError("the CPU computes in f32; f16 and bf16 need a GPU");
  return cpu::make(op, signature);
}

}  // namespace

const KernelTable& cpu_kernels() {
  static const KernelTable table = [] {
    KernelTable kernels;
#define LOCKSTEP_OP(Class) kernels.add<Class>(make_in_32_bits<Class>);
#include "layers/list.inc"
    kernels.add_all<Op>(registered_kernels("cpu"));
    return kernels;
  }();
  return table;
}

}  // namespace lockstep
