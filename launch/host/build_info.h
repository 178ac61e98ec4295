// What this binary was built from and with; written by build_info.cmake at build time. Constant.
#pragma once

#include <string_view>

namespace lockstep {

struct BuildInfo {
  std::string_view version;       // "0.1.0"
  std::string_view git_revision;  // 40 hex digits, "unknown" outside git
  std::string_view git_dirty;     // "true" or "false": whether sources differed from it; "unknown" outside git
  std::string_view compiler;      // "GNU 12.2.0"
  std::string_view build_type;    // "Release"
  std::string_view march;         // of our own kernels; empty where the compiler's default was used
};

const BuildInfo& build_info();

}  // namespace lockstep
