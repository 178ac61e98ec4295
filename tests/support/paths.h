// Where the tests were built. In an object of its own: all others are the same for every folder that they are built in.
#pragma once

#include <string>

namespace lockstep::test {

/// The repository's folder, absolute.
std::string source_dir();
/// The folder of the programs, absolute.
std::string binary_dir();
/// The mpirun of the MPI that was built with; empty where there is none.
std::string mpiexec();

}  // namespace lockstep::test
