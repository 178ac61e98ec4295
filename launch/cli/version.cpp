#include <fmt/format.h>

#include "launch/build_info.h"
#include "launch/cli/options.h"
#include "launch/system_info.h"
#include "layers/cpu/library.h"

namespace lockstep::cli {

void version() {
  const BuildInfo& build = build_info();
  fmt::print("lockstep {} (git {}{}, {} build)\n", build.version, build.git_revision,
             build.git_dirty == "true" ? ", changed since" : "", build.build_type);
  for (const auto& [name, value] : library_versions().items())
    if (name != "lockstep") fmt::print("  {:<14} {}\n", name, value.get<std::string>());
  const CpuInfo cpu = cpu_info();
  fmt::print("  {:<14} {} ({}; oneDNN uses {})\n", "cpu", cpu.model, cpu.isa, onednn_isa());
}

}  // namespace lockstep::cli
