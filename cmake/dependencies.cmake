find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED)
add_library(lockstep_openmp INTERFACE)
if(LOCKSTEP_SANITIZE MATCHES thread)
  # libgomp's barriers are unknown to the thread sanitizer, which would take every parallel loop for a race: our loops
  # run on one thread there. What it is for are ranks, streams, feeds and communicators.
  target_link_libraries(lockstep_openmp INTERFACE ${OpenMP_gomp_LIBRARY})
  target_compile_options(lockstep_openmp INTERFACE -Wno-unknown-pragmas)
else()
  target_link_libraries(lockstep_openmp INTERFACE OpenMP::OpenMP_CXX)
endif()
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
if(LOCKSTEP_PROGRAM OR LOCKSTEP_BENCHMARKS)
  find_package(CLI11 REQUIRED)
endif()
find_package(OpenSSL REQUIRED)
find_package(ZLIB REQUIRED)
find_package(JPEG REQUIRED)
find_package(PNG REQUIRED)
find_package(LibLZMA REQUIRED)

find_package(MPI COMPONENTS CXX)
if(MPI_CXX_FOUND)
  message(STATUS "MPI ${MPI_CXX_VERSION}: ranks may be started by mpirun or srun")
else()
  message(STATUS "MPI not found: ranks are threads of one process")
endif()

# Debian's package configuration of oneDNN asks for OpenCL, which the CPU does not need: look for the library itself.
find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl.hpp REQUIRED)
find_library(DNNL_LIBRARY dnnl REQUIRED)
file(STRINGS "${DNNL_INCLUDE_DIR}/oneapi/dnnl/dnnl_version.h" dnnl_major REGEX "define DNNL_VERSION_MAJOR")
string(REGEX MATCH "[0-9]+" dnnl_major "${dnnl_major}")
add_library(DNNL::dnnl UNKNOWN IMPORTED)
set_target_properties(DNNL::dnnl PROPERTIES
  IMPORTED_LOCATION "${DNNL_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${DNNL_INCLUDE_DIR}")
message(STATUS "oneDNN ${dnnl_major}: ${DNNL_LIBRARY}")

# Where cores, memory and devices are. Without pkg-config, which nothing else here needs.
find_path(HWLOC_INCLUDE_DIR hwloc.h REQUIRED)
find_library(HWLOC_LIBRARY hwloc REQUIRED)
add_library(HWLOC::hwloc UNKNOWN IMPORTED)
set_target_properties(HWLOC::hwloc PROPERTIES
  IMPORTED_LOCATION "${HWLOC_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${HWLOC_INCLUDE_DIR}")

include("${CMAKE_CURRENT_LIST_DIR}/cuda.cmake")
