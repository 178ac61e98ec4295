# lockstep::lockstep, the library with all that it needs, and what `cmake --install` and `cpack -G DEB` take.
add_library(lockstep_library INTERFACE)
set_target_properties(lockstep_library PROPERTIES EXPORT_NAME lockstep)
target_link_libraries(lockstep_library INTERFACE lockstep_launch)
# Inline functions of the headers round as they do in the library.
target_compile_options(lockstep_library INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off>)
add_library(lockstep::lockstep ALIAS lockstep_library)

# What a program includes: <lockstep/lockstep.h>, <lockstep/version.h>, and in tests of its operators
# <lockstep/testing/op_check.h>.
set(headers "${PROJECT_BINARY_DIR}/include/lockstep")
file(CONFIGURE OUTPUT "${headers}/lockstep.h" CONTENT "#pragma once\n#include \"launch/lockstep.h\"\n")
file(CONFIGURE OUTPUT "${headers}/testing/op_check.h" CONTENT "#pragma once\n#include \"launch/testing/op_check.h\"\n")
configure_file(cmake/version.h.in "${headers}/version.h" @ONLY)

if(NOT LOCKSTEP_INSTALL)
  return()
endif()
include(CMakePackageConfigHelpers)
set(place ${CMAKE_INSTALL_LIBDIR}/cmake/lockstep)
install(TARGETS lockstep_options lockstep_openmp lockstep_core lockstep_layers lockstep_parallel lockstep_launch
  lockstep_library EXPORT lockstep)
if(TARGET lockstep_cuda)
  install(TARGETS lockstep_cuda DESTINATION ${CMAKE_INSTALL_LIBDIR}/lockstep)
endif()
install(EXPORT lockstep NAMESPACE lockstep:: FILE lockstepTargets.cmake DESTINATION ${place})
configure_package_config_file(cmake/lockstepConfig.cmake.in lockstepConfig.cmake INSTALL_DESTINATION ${place})
write_basic_package_version_file(lockstepConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/lockstepConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/lockstepConfigVersion.cmake
  DESTINATION ${place})
install(DIRECTORY "${headers}/" DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/lockstep)
install(DIRECTORY core layers parallel launch DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/lockstep
  FILES_MATCHING PATTERN "*.h" PATTERN "*.inc" PATTERN "cli" EXCLUDE)

# The same for pkg-config: our libraries, then what the static one needs.
file(RELATIVE_PATH from_pc /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" from_pc "${from_pc}")
set(archives -llockstep_launch -llockstep_parallel -llockstep_layers -llockstep_core)
set(others ${HWLOC_LIBRARY})
list(JOIN archives " " archives)
list(JOIN others " " others)
configure_file(cmake/lockstep.pc.in "${PROJECT_BINARY_DIR}/lockstep.pc.part" @ONLY)
file(GENERATE OUTPUT "${PROJECT_BINARY_DIR}/lockstep.pc" INPUT "${PROJECT_BINARY_DIR}/lockstep.pc.part")
install(FILES "${PROJECT_BINARY_DIR}/lockstep.pc" DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# The program, its man page and its completion, both as the program itself writes them.
if(LOCKSTEP_PROGRAM)
  install(TARGETS lockstep)
  set(written "${PROJECT_BINARY_DIR}/share")
  install(CODE "
    execute_process(COMMAND \"${CMAKE_COMMAND}\" \"-DPROGRAM=$<TARGET_FILE:lockstep>\" \"-DOUTPUT=${written}/lockstep.1\"
      -P \"${PROJECT_SOURCE_DIR}/cmake/manual.cmake\" COMMAND_ERROR_IS_FATAL ANY)
    foreach(shell bash zsh fish)
      execute_process(COMMAND \"$<TARGET_FILE:lockstep>\" completion \${shell} OUTPUT_FILE \"${written}/\${shell}\"
        COMMAND_ERROR_IS_FATAL ANY)
    endforeach()")
  install(FILES "${written}/lockstep.1" DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
  install(FILES "${written}/bash" DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME lockstep)
  install(FILES "${written}/zsh" DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions RENAME _lockstep)
  install(FILES "${written}/fish" DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d RENAME lockstep.fish)
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_CONTACT "the maintainers of Lockstep")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Trains CNNs on many GPUs or CPU cores: the same bits for every number of ranks")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS "${CMAKE_LIBRARY_OUTPUT_DIRECTORY}")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
include(CPack)
