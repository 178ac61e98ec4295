// The one function that a backend's module gives to the program that loads it.
#pragma once

#include <lockstep/version.h>

#include <string_view>

#include "launch/backends/backend_kind.h"

namespace lockstep {

inline constexpr const char* module_entry = "lockstep_backend";

inline bool same_version(std::string_view version) { return version == LOCKSTEP_VERSION; }

}  // namespace lockstep

/// The backend; null where the program that asks is of another version of Lockstep than the module.
extern "C" const lockstep::BackendKind* lockstep_backend(const char* version);
