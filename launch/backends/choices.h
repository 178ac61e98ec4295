// What a user can choose of where to compute and how to exchange, by name. Any thread.
#pragma once

#include <string>
#include <vector>

namespace lockstep {

/// Where kernels run; automatic: on GPUs where this program and this machine have them, else on the CPU. After
/// automatic in the order of `backends`.
enum class BackendChoice : unsigned char { automatic, cpu, cuda };

/// How the ranks' steps exchange data on GPUs; automatic: NCCL where every rank has a GPU of its own, else memory of
/// one process (local) or MPI over host memory. On the CPU it follows from how the ranks were started.
enum class CommChoice : unsigned char { automatic, local, mpi, nccl };

/// Each throws InputError with the nearest name.
BackendChoice backend_from_name(const std::string& name);
CommChoice comm_from_name(const std::string& name);
const std::vector<std::string>& backend_names();
const std::vector<std::string>& comm_names();

/// Whether the choice means GPUs here. Throws InputError that says why not where they were asked for and cannot be.
bool uses_gpus(BackendChoice choice);

}  // namespace lockstep
