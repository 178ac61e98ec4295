#include "parallel/comm/launcher.h"

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

namespace lockstep {
namespace {

/// The variable as a number; 0 where it is missing or none.
int number(const char* variable) {
  const char* text = std::getenv(variable);
  int value = 0;
  if (text) std::from_chars(text, text + std::strlen(text), value);
  return value;
}

}  // namespace

int launched_ranks() {
  // Slurm's step variables, and not SLURM_NTASKS alone: a batch script has that one too, though nobody started ranks.
  for (const char* size : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}) {
    if (number(size) > 0) return number(size);
  }
  if (std::getenv("SLURM_PROCID") && number("SLURM_STEP_NUM_TASKS") > 1) return number("SLURM_STEP_NUM_TASKS");
  return std::getenv("PMI_RANK") || std::getenv("PMIX_RANK") ? 1 : 0;
}

int launched_rank() {
  for (const char* rank : {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"}) {
    if (std::getenv(rank)) return number(rank);
  }
  return launched_ranks() > 0 ? number("SLURM_PROCID") : 0;
}

bool started_by_mpi() { return launched_ranks() > 0; }

}  // namespace lockstep
