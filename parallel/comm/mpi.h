// Ranks as processes that mpirun or srun started. Calls into MPI are made one at a time, from whichever thread runs the
// stream; a communicator is otherwise used by its rank's thread alone.
#pragma once

#include <memory>
#include <string>

#include "parallel/comm/communicator.h"

namespace lockstep {

/// The MPI library's name and version in one line; "none" in a build without MPI.
std::string mpi_library_version();

/// Starts MPI and returns the communicator of all ranks; MPI ends with the last communicator that was split from it,
/// and cannot be started again. Transfers are cut into pieces of at most `piece` bytes, since MPI counts with an int.
/// Throws InputError where this build has no MPI, Error when MPI sees fewer ranks than the launcher started.
std::unique_ptr<Communicator> make_mpi(size_t piece = size_t{1} << 30);

/// What abort does on a communicator of make_mpi, with the exit code of all processes: prints
/// "lockstep: rank 3 of 4 on HOST: why" and ends them. With another kind of communicator, its abort.
void abort_mpi(Communicator& communicator, std::string_view why, int exit_code) noexcept;

}  // namespace lockstep
