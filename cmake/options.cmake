option(LOCKSTEP_PROGRAM "Build the program lockstep" ${PROJECT_IS_TOP_LEVEL})
option(LOCKSTEP_TESTS "Build the tests" ${PROJECT_IS_TOP_LEVEL})
option(LOCKSTEP_EXAMPLES "Build the examples" ${PROJECT_IS_TOP_LEVEL})
option(LOCKSTEP_BENCHMARKS "Build the benchmarks" ${PROJECT_IS_TOP_LEVEL})
option(LOCKSTEP_INSTALL "Install what is built" ${PROJECT_IS_TOP_LEVEL})
if(LOCKSTEP_TESTS AND NOT (LOCKSTEP_PROGRAM AND LOCKSTEP_EXAMPLES))
  message(FATAL_ERROR "LOCKSTEP_TESTS is on, which starts the program and the examples: LOCKSTEP_PROGRAM and "
    "LOCKSTEP_EXAMPLES must be on, too")
endif()
set(LOCKSTEP_CUDA AUTO CACHE STRING "CUDA: ON, OFF, or AUTO (where a toolkit is found)")
set(LOCKSTEP_SANITIZE "" CACHE STRING "Sanitizers to build with, e.g. address,undefined or thread")
option(LOCKSTEP_FUZZ "Build lockstep_fuzz, for libFuzzer (clang; see tests/fuzz/run)" OFF)
if(LOCKSTEP_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES Clang OR CMAKE_CXX_COMPILER_VERSION VERSION_LESS 15)
    message(FATAL_ERROR "LOCKSTEP_FUZZ needs clang 15 or later (libFuzzer, and 16-bit floats), this is "
      "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}")
  endif()
  set(LOCKSTEP_SANITIZE fuzzer-no-link,address,undefined)
endif()
set(LOCKSTEP_MARCH "x86-64-v3" CACHE STRING "Instruction set of our own kernels (-march); oneDNN picks its own at run time")

# What all targets of the project, and who links them, have: where headers are, and the language.
add_library(lockstep_options INTERFACE)
target_compile_features(lockstep_options INTERFACE cxx_std_20)
target_include_directories(lockstep_options INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
  $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include> $<INSTALL_INTERFACE:include> $<INSTALL_INTERFACE:include/lockstep>)

# The floors that the program and the modules of backends stand on are shared: each has one copy of the code and of its
# classes. They lie in one folder, in which core/module.cpp looks for modules. What no library defines does not link.
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/lib")
include(GNUInstallDirs)
list(APPEND CMAKE_INSTALL_RPATH "\$ORIGIN" "\$ORIGIN/.." "\$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")
function(share target)
  # One definition a precompiled header: those who reuse it have the same flags.
  set_target_properties(${target} PROPERTIES DEFINE_SYMBOL "")
  if(NOT LOCKSTEP_SANITIZE)  # whose functions are the program's
    target_link_options(${target} PRIVATE LINKER:--no-undefined)
  endif()
endfunction()

# The rest is the project's own, and of no project around it.
# One floating-point environment: a*b+c is fused only where the source says std::fma, so that the vector body and the
# scalar tail of a loop agree wherever a range starts.
# Functions of a shared library call each other directly, as in a static one.
set(strict -Wall -Wextra -Wshadow=local -Wconversion -Wno-sign-conversion -ffp-contract=off -fno-math-errno
  -fno-semantic-interposition)
# GCC 12 sees overlapping copies, and copies out of bounds, in std::string where there are none (its bug 105651).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  list(APPEND strict -Wno-restrict -Wno-stringop-overflow -Wno-array-bounds)
endif()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND strict -march=${LOCKSTEP_MARCH})
endif()
if(LOCKSTEP_SANITIZE)
  list(APPEND strict -fsanitize=${LOCKSTEP_SANITIZE} -fno-omit-frame-pointer -g)
  add_link_options(-fsanitize=${LOCKSTEP_SANITIZE})
endif()
add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:${strict}>")
# The same contract for CUDA. fmt's headers know nvcc for older than it is: without these two it cannot read them.
add_compile_options("$<$<COMPILE_LANGUAGE:CUDA>:--fmad=false;--extended-lambda>")
add_compile_definitions("$<$<COMPILE_LANGUAGE:CUDA>:FMT_USE_CONSTEXPR=1>" "$<$<COMPILE_LANGUAGE:CUDA>:FMT_CONSTEVAL=>")

# With ccache, where it is found, what was compiled once is not compiled again: precompiled headers and __TIME__ are no
# reason to miss, and paths in the repository are relative, so that another copy of it finds the same.
find_program(LOCKSTEP_CCACHE ccache DOC "ccache, to compile nothing twice; empty: none")
if(LOCKSTEP_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1
    CCACHE_SLOPPINESS=pch_defines,time_macros ${LOCKSTEP_CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
  endif()
endif()
