#include <fmt/format.h>

#include "launch/cli/options/options.h"
#include "launch/cli/verbs/verbs.h"
#include "launch/host/build_info.h"
#include "launch/host/system_info.h"

namespace lockstep::cli {

std::string version_line() {
  const BuildInfo& build = build_info();
  return fmt::format("lockstep {} (git {}{}, {} build)", build.version, build.git_revision,
                     build.git_dirty == "true" ? ", changed since" : "", build.build_type);
}

void version(const Options&, Runtime& runtime) {
  if (runtime.rank() != 0) return;
  fmt::print("{}\n", version_line());
  const auto libraries = library_versions();
  for (const auto& [name, value] : libraries.items()) fmt::print("  {:<14} {}\n", name, value.get<std::string>());
  fmt::print("  {:<14} {}\n", "cpu", system_info()["cpu"].get<std::string>());
}

}  // namespace lockstep::cli
