#include "launch/backends/choices.h"

#include "core/error.h"
#include "launch/backends/backends.h"

namespace lockstep {

const std::vector<std::string>& backend_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all{"auto"};
    for (const BackendRow& row : backends()) all.emplace_back(row.name);
    return all;
  }();
  return names;
}

const std::vector<std::string>& comm_names() {
  static const std::vector<std::string> names{"auto", "local", "mpi", "nccl"};
  return names;
}

BackendChoice backend_from_name(const std::string& name) {
  return static_cast<BackendChoice>(index_of("backend", name, backend_names()));
}

CommChoice comm_from_name(const std::string& name) {
  return static_cast<CommChoice>(index_of("communicator", name, comm_names()));
}

bool uses_gpus(BackendChoice choice) { return &backend_of(choice) != &backends()[0]; }

}  // namespace lockstep
