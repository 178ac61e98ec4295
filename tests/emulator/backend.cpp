// The emulated device as the backend of the program that it is linked into.
#include "launch/backends/backends.h"
#include "launch/backends/module_entry.h"

namespace lockstep {

const BackendKind& cuda_backend() { return *lockstep_backend(LOCKSTEP_VERSION); }

}  // namespace lockstep
