# lockstep::lockstep, the library with all that it needs, and what `cmake --install` and `cpack -G DEB` take.
add_library(lockstep_library INTERFACE)
set_target_properties(lockstep_library PROPERTIES EXPORT_NAME lockstep)
target_link_libraries(lockstep_library INTERFACE lockstep_launch lockstep_cuda)
# Inline functions of the headers round as they do in the library.
target_compile_options(lockstep_library INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off>)
add_library(lockstep::lockstep ALIAS lockstep_library)

# What a program includes: <lockstep/lockstep.h>, and <lockstep/version.h>.
set(headers "${PROJECT_BINARY_DIR}/include/lockstep")
file(CONFIGURE OUTPUT "${headers}/lockstep.h" CONTENT "#pragma once\n#include \"launch/lockstep.h\"\n")
configure_file(cmake/version.h.in "${headers}/version.h" @ONLY)

if(NOT LOCKSTEP_INSTALL)
  return()
endif()
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(place ${CMAKE_INSTALL_LIBDIR}/cmake/lockstep)
install(TARGETS lockstep_options lockstep_openmp lockstep_core lockstep_layers lockstep_parallel lockstep_launch lockstep_cuda
  lockstep_library EXPORT lockstep)
install(EXPORT lockstep NAMESPACE lockstep:: FILE lockstepTargets.cmake DESTINATION ${place})
configure_package_config_file(cmake/lockstepConfig.cmake.in lockstepConfig.cmake INSTALL_DESTINATION ${place})
write_basic_package_version_file(lockstepConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/lockstepConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/lockstepConfigVersion.cmake
  DESTINATION ${place})
install(FILES "${headers}/lockstep.h" "${headers}/version.h" DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/lockstep)
install(DIRECTORY core layers parallel launch DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/lockstep
  FILES_MATCHING PATTERN "*.h" PATTERN "*.inc" PATTERN "cli" EXCLUDE)
if(LOCKSTEP_PROGRAM)
  install(TARGETS lockstep)
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_CONTACT "the maintainers of Lockstep")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Trains CNNs on many GPUs or CPU cores: the same bits for every number of ranks")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
include(CPack)
