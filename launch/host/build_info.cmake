# Writes build_info.cpp from the state of the source tree. Outside git, or before the first commit: "unknown".
set(revision "unknown")
set(dirty "unknown")
find_program(GIT git)
if(GIT)
  # No optional locks: a build must not disturb a git command that runs at the same time.
  set(git "${GIT}" --no-optional-locks -C "${SOURCE_DIR}")
  execute_process(COMMAND ${git} rev-parse --show-toplevel OUTPUT_VARIABLE top RESULT_VARIABLE failed ERROR_QUIET
    OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT failed)
    file(REAL_PATH "${top}" top)
    file(REAL_PATH "${SOURCE_DIR}" here)
    # An unpacked release inside somebody else's repository has no revision of its own.
    if(top STREQUAL here)
      execute_process(COMMAND ${git} rev-parse --verify HEAD OUTPUT_VARIABLE head RESULT_VARIABLE failed ERROR_QUIET
        OUTPUT_STRIP_TRAILING_WHITESPACE)
      if(NOT failed)
        set(revision "${head}")
        execute_process(COMMAND ${git} status --porcelain -- CMakeLists.txt cmake core layers parallel launch OUTPUT_VARIABLE changes ERROR_QUIET)
        if(changes STREQUAL "")
          set(dirty "false")
        else()
          set(dirty "true")
        endif()
      endif()
    endif()
  endif()
endif()
if(NOT PROCESSOR MATCHES "x86_64|AMD64")
  set(MARCH "")
endif()

set(text "#include \"launch/host/build_info.h\"
namespace lockstep {
const BuildInfo& build_info() {
  static constexpr BuildInfo info{\"${VERSION}\", \"${revision}\", \"${dirty}\", \"${COMPILER}\", \"${BUILD_TYPE}\", \"${MARCH}\"};
  return info;
}
}  // namespace lockstep
")
set(old "")
if(EXISTS "${OUTPUT}")
  file(READ "${OUTPUT}" old)
endif()
if(NOT old STREQUAL text)
  file(WRITE "${OUTPUT}" "${text}")
endif()
