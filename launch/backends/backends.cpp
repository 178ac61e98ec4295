#include "launch/backends/backends.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"

namespace lockstep {

std::span<const BackendRow> backends() {
  static constexpr BackendRow rows[]{{"cpu", "CPU", cpu_backend}, {"cuda", "CUDA", cuda_backend}};
  return rows;
}

const BackendRow& backend_of(BackendChoice choice) {
  const auto rows = backends();
  if (choice == BackendChoice::automatic) {
    size_t last = rows.size() - 1;
    while (last > 0 && rows[last].kind().status().devices == 0) --last;
    return rows[last];
  }
  const BackendRow& row = rows[static_cast<size_t>(choice) - 1];
  if (row.kind().status().devices == 0)
    throw InputError("--backend {}: there is no GPU to compute on ({}: {}); --backend cpu computes on the CPU",
                     row.name, row.title, row.kind().status().text);
  return row;
}

std::vector<DeviceInfo> gpus() { return backend_of(BackendChoice::automatic).kind().devices(); }

std::string gpu_status() {
  std::vector<std::string> all;
  for (const BackendRow& row : backends().subspan(1))
    all.push_back(fmt::format("{}: {}", row.title, row.kind().status().text));
  return fmt::format("{}", fmt::join(all, "; "));
}

}  // namespace lockstep
