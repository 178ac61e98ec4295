#include <fmt/format.h>

#include "core/cuda/cuda.h"
#include "launch/cli/verbs/verbs.h"
#include "launch/host/build_info.h"
#include "launch/host/system_info.h"
#include "layers/cpu/library.h"
#include "layers/cuda/kernels.h"
#include "parallel/comm/mpi.h"
#include "parallel/comm/nccl/nccl.h"

namespace lockstep::cli {

std::string version_line() {
  const BuildInfo& build = build_info();
  return fmt::format("lockstep {} (git {}{}, {} build)", build.version, build.git_revision,
                     build.git_dirty == "true" ? ", changed since" : "", build.build_type);
}

void version(const Options&, Runtime& runtime) {
  if (runtime.rank() != 0) return;
  fmt::print("{}\n", version_line());
  auto libraries = library_versions();
  libraries["onednn"] = fmt::format("{}, uses {} here", onednn_version(), onednn_isa());
  libraries["cuda"] = cuda_status().text;
  libraries["cudnn"] = cudnn_version().empty() ? "none" : cudnn_version();
  libraries["cublas"] = cublas_version().empty() ? "none" : cublas_version();
  libraries["nccl"] = nccl_version();
  libraries["mpi"] = mpi_library_version();
  for (const auto& [name, value] : libraries.items()) fmt::print("  {:<14} {}\n", name, value.get<std::string>());
  fmt::print("  {:<14} {}\n", "cpu", system_info()["cpu"].get<std::string>());
}

}  // namespace lockstep::cli
