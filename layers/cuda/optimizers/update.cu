#include "layers/optimizers/update.h"

#include <cmath>
#include <type_traits>

#include "core/error.h"
#include "layers/cuda/context.h"
#include "layers/cuda/optimizers/optimizer.cuh"

namespace lockstep::cuda {

namespace {

struct Math {
  __host__ __device__ static double power(double base, double exponent) { return pow(base, exponent); }
  template <class V>
  __host__ __device__ static V root(V v) {
    return sqrtf(v);
  }
};

/// Of one stretch. Outputs may be the inputs.
template <int Slots>
struct Arrays {
  const float *value, *gradient;
  float* new_value;
  const float* slot[Slots + 1];  // no array has no elements
  float* new_slot[Slots + 1];
};

/// The norms of a stretch's variable; null where the formula does not adapt, or the stretch is excluded.
struct Norms {
  const float *value = nullptr, *gradient = nullptr;
};

template <int Size, int Slots, class F>
__global__ void update_kernel(Arrays<Slots> arrays, StepInputs step, F formula, Numbers given, Norms norms, int64_t n) {
  // Powers in double take long: one thread each, while the others' loads are on their way.
  __shared__ float scalars[2];
  if constexpr (F::traits.scalars > 0) {
    const int k = static_cast<int>(threadIdx.x) / 32;
    if (threadIdx.x % 32 == 0 && k < F::traits.scalars)
      scalars[k] = formula.scalar(k, step.state->lr, static_cast<double>(step.state->step) + 1, Math{});
  }
  const int64_t first = first_of_pack<Size>();
  auto value = load_pack<Size>(arrays.value, first, n);
  auto gradient = load_pack<Size>(arrays.gradient, first, n);
  Pack<float, Size> slots[Slots + 1];
#pragma unroll
  for (int s = 0; s < Slots; ++s) slots[s] = load_pack<Size>(arrays.slot[s], first, n);
  if constexpr (F::traits.scalars > 0) __syncthreads();
  if (first >= n) return;
  if (!step.skipped() && !idle(formula, step.state->step)) {
    Numbers now = given;
    now.lr = step.state->lr;
    now.count = step.divisor();
    if constexpr (F::traits.scalars > 0)
      for (int k = 0; k < F::traits.scalars; ++k) now.scalar[k] = scalars[k];
    if constexpr (F::traits.adapts)
      if (norms.value) now.ratio = formula.ratio(*norms.value, *norms.gradient, now.count);
#pragma unroll
    for (int i = 0; i < Size; ++i) {
      float slot[Slots + 1] = {};
#pragma unroll
      for (int s = 0; s < Slots; ++s) slot[s] = slots[s].v[i];
      const float g = F::traits.of_sums ? gradient.v[i] / now.count : gradient.v[i];
      formula.template update<float>(value.v[i], g, slot, now, Math{});
#pragma unroll
      for (int s = 0; s < Slots; ++s) slots[s].v[i] = slot[s];
    }
  }
  store_pack<Size>(arrays.new_value, value, first, n);
#pragma unroll
  for (int s = 0; s < Slots; ++s) store_pack<Size>(arrays.new_slot[s], slots[s], first, n);
}

template <int Slots, class F>
void run(const F& formula, Stream& stream, const Args& args, bool scaled, const Stretch& stretch) {
  const int64_t n = stretch.end - stretch.begin;
  if (n == 0) return;
  Arrays<Slots> arrays{
      args.in[0].as() + stretch.begin, args.in[1].as() + stretch.begin, args.out[0].as() + stretch.begin, {}, {}};
  uintptr_t bits = reinterpret_cast<uintptr_t>(arrays.value) | reinterpret_cast<uintptr_t>(arrays.gradient) |
                   reinterpret_cast<uintptr_t>(arrays.new_value);
  for (int s = 0; s < Slots; ++s) {
    arrays.slot[s] = args.in[static_cast<size_t>(3 + s)].as() + stretch.begin;
    arrays.new_slot[s] = args.out[static_cast<size_t>(1 + s)].as() + stretch.begin;
    bits |= reinterpret_cast<uintptr_t>(arrays.slot[s]) | reinterpret_cast<uintptr_t>(arrays.new_slot[s]);
  }
  const Numbers given{.decay = stretch.excluded ? 0 : decay_of(formula), .penalty = stretch.penalty};
  Norms norms;
  if constexpr (F::traits.adapts)
    if (!stretch.excluded) norms = {args.in[3 + Slots].as() + stretch.norm, args.in[4 + Slots].as() + stretch.norm};
  with_pack_size({reinterpret_cast<const void*>(bits)}, [&]<int Size>(std::integral_constant<int, Size>) {
    launch(stream, {blocks_for((n + Size - 1) / Size)}, update_kernel<Size, Slots, F>, arrays, StepInputs(args, scaled),
           formula, given, norms, n);
  });
}

/// body(std::integral_constant<int, slots>), of which there are `Least` to `Most`.
template <int Least, int Most, class Body>
void with_slots(int slots, Body&& body) {
  if constexpr (Most > Least)
    if (slots < Most) return with_slots<Least, Most - 1>(slots, body);
  body(std::integral_constant<int, Most>{});
}

/// Where outputs lie apart, what no stretch changes.
void copy_rest(Stream& stream, const Args& args) {
  for (size_t i = 0; i < args.out.size(); ++i) {
    const Tensor& from = args.in[i == 0 ? 0 : i + 2];
    if (args.out[i].data != from.data) stream.copy(args.out[i].data, from.data, from.type.bytes());
  }
}

}  // namespace

Kernel make(const UpdateOp& op, const Signature& signature, const SharedContext&) {
  return std::visit(
      [&]<class F>(const F& formula) -> Kernel {
        if constexpr (std::is_same_v<F, CustomFormula>) {
          if (formula.optimizer->cuda) return formula.optimizer->cuda(op, signature);
          throw InputError(
              "the optimizer '{}' has no kernel for CUDA devices: expected one (CustomOptimizer::cuda), or the CPU",
              formula.name);
        } else {
          return {
              .run = [formula, scaled = op.scaled, slots = static_cast<int>(op.slots()),
                      partial = !op.stretches.empty(),
                      stretches = op.stretches_of(signature.in[0].shape.elements())](Stream& stream, const Args& args) {
                if (partial) copy_rest(stream, args);
                with_slots<F::traits.slots - F::traits.optional_slots, F::traits.slots>(
                    slots, [&]<int Slots>(std::integral_constant<int, Slots>) {
                      for (const Stretch& stretch : stretches) run<Slots>(formula, stream, args, scaled, stretch);
                    });
              }};
        }
      },
      op.formula);
}

}  // namespace lockstep::cuda
