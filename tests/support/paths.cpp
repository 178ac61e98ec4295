#include "tests/support/paths.h"

namespace lockstep::test {

std::string source_dir() { return LOCKSTEP_SOURCE_DIR; }
std::string binary_dir() { return LOCKSTEP_BINARY_DIR; }
std::string mpiexec() { return LOCKSTEP_MPIEXEC; }

}  // namespace lockstep::test
