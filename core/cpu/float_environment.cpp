#include "core/cpu/float_environment.h"

#include <cstdint>

// The control register is a matter of the instruction set, which has no portable interface: hence the #if.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lockstep {

void flush_subnormals_to_zero() {
#if defined(__x86_64__)
  constexpr unsigned flush_to_zero = 0x8000, denormals_are_zero = 0x0040;
  _mm_setcsr(_mm_getcsr() | flush_to_zero | denormals_are_zero);
#elif defined(__aarch64__)
  uint64_t fpcr = 0;
  __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
  __asm__ volatile("msr fpcr, %0" ::"r"(fpcr | (uint64_t{1} << 24)));
#else
#error "state here how this instruction set flushes subnormals: results depend on it"
#endif
}

}  // namespace lockstep
