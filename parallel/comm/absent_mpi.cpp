#include "core/error.h"
#include "parallel/comm/mpi.h"

namespace lockstep {

std::unique_ptr<Communicator> make_mpi(size_t) {
  throw InputError(
      "started by mpirun, but this build has no MPI: install an MPI library and build again, or run without mpirun "
      "and say --ranks N");
}

std::string mpi_library_version() { return "none"; }

void abort_mpi(Communicator& communicator, std::string_view why, int) noexcept { communicator.abort(why); }

}  // namespace lockstep
