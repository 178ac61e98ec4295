// What mpirun or srun, which started this process, says in its environment. Any thread may call.
#pragma once

namespace lockstep {

/// How many ranks the environment says a launcher started (1 where it only shows that there is one), 0 where there is
/// no launcher. Reads variables of Open MPI, MPICH, PMIx and Slurm; makes no MPI call.
int launched_ranks();
/// This process' rank as the environment says it, 0 where it says nothing: to be used only where MPI cannot be asked.
int launched_rank();
/// Whether make_mpi is meant to be called: `launched_ranks() > 0`.
bool started_by_mpi();

}  // namespace lockstep
