// The machine and the libraries that a run used, for its manifest. Any thread may call.
#pragma once

#include <istream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace lockstep {

struct CpuInfo {
  std::string model;             // "Intel(R) Xeon(R) …"; "unknown" where the system does not say
  std::vector<std::string> isa;  // those that matter to us: avx2, fma, avx512f, amx_tile, asimd, sve, …
};

/// Reads the form of Linux' /proc/cpuinfo.
CpuInfo parse_cpu_info(std::istream& text);

/// {"host", "os", "kernel", "cpu", "isa"}
nlohmann::ordered_json system_info();

/// The compiler and every library, by name: the version in use, where the library can tell; of backends also what is
/// there of them, as "cuda".
nlohmann::ordered_json library_versions();

}  // namespace lockstep
