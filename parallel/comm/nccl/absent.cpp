#include "core/error.h"
#include "parallel/comm/nccl/nccl.h"

namespace lockstep {

std::string nccl_version() { return "none"; }

std::unique_ptr<Communicator> make_nccl(Communicator&) {
  throw InputError(
      "this build has no NCCL: install NCCL and build again, or let ranks talk over MPI (--comm mpi) or be threads of "
      "one process (--comm local)");
}

}  // namespace lockstep
