#include "launch/plan/step_options.h"

#include <bit>

#include "core/error.h"
#include "parallel/mesh/mesh.h"

namespace lockstep {

namespace {

/// The multiples next to a batch that is none.
std::string nearest(int64_t batch, int64_t of) {
  const int64_t below = batch / of * of, above = below + of;
  return below == 0 ? fmt::format("{}", above) : fmt::format("{} or {}", below, above);
}

}  // namespace

void check_batch(const StepOptions& options, int all_ranks) {
  check_ranks(options.strategy, all_ranks);
  const int ranks = all_ranks / static_cast<int>(options.strategy.ranks_per_lane());
  const int64_t batch = options.batch;
  const int lanes = options.lanes;
  constexpr int64_t most = int64_t{1} << 31;
  if (batch < 1 || batch > most) throw InputError("batch is {}, expected 1 to {}", batch, most);
  if (options.numerics == Numerics::fast) {
    if (options.strategy.stages() > 1)
      throw InputError(
          "fast numerics has one lane a rank, which leaves a pipeline of {} stages nothing to overlap; "
          "expected reproducible numerics",
          options.strategy.stages());
    if (batch % ranks != 0)
      throw InputError("batch {} does not divide by {} ranks; {} would fit", batch, ranks, nearest(batch, ranks));
    return;
  }
  if (lanes < 1 || !std::has_single_bit(static_cast<unsigned>(lanes)))
    throw InputError("lanes is {}, expected a power of two: 1, 2, 4, 8, …", lanes);
  if (batch % lanes != 0)
    throw InputError("batch {} does not divide into {} lanes; {} would fit", batch, lanes, nearest(batch, lanes));
  if (ranks > lanes || lanes % ranks != 0) {
    std::string fitting;
    for (int64_t p = 1; p <= lanes; p *= 2) fitting += fmt::format("{}{}", p == 1 ? "" : ", ", p);
    throw InputError("{} lanes cannot be shared by {} ranks; {} ranks would fit, or more lanes (--lanes)", lanes, ranks,
                     fitting);
  }
}

}  // namespace lockstep
