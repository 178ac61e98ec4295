#include "launch/host/system_info.h"

#include <fmt/format.h>
#include <gnu/libc-version.h>
#include <lzma.h>
#include <openssl/crypto.h>
#include <png.h>
#include <spdlog/version.h>
#include <sys/utsname.h>
#include <zlib.h>

// libjpeg needs this before its own header.
#include <cstdio>

#include <jpeglib.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <set>
#include <sstream>
#include <string_view>

#include "launch/backends/backends.h"
#include "launch/host/build_info.h"
#include "parallel/comm/mpi.h"

namespace lockstep {

namespace {

/// "major.minor.patch" of a number that counts them in `base`.
std::string version(unsigned number, unsigned base) {
  return fmt::format("{}.{}.{}", number / (base * base), number / base % base, number % base);
}

bool matters(std::string_view flag) {
  constexpr std::array<std::string_view, 12> exact{"sse4_2", "avx",  "avx2",    "fma",     "f16c", "bmi2",
                                                   "asimd",  "fphp", "asimdhp", "asimddp", "bf16", "i8mm"};
  constexpr std::array<std::string_view, 4> families{"avx512", "avx_", "amx_", "sve"};
  return std::find(exact.begin(), exact.end(), flag) != exact.end() ||
         std::any_of(families.begin(), families.end(),
                     [&](std::string_view family) { return flag.starts_with(family); });
}

/// What follows `key` in /etc/os-release, without its quotes.
std::string os_name() {
  std::ifstream file("/etc/os-release");
  constexpr std::string_view key = "PRETTY_NAME=";
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    line.erase(0, key.size());
    std::erase(line, '"');
    return line;
  }
  return "unknown";
}

}  // namespace

CpuInfo parse_cpu_info(std::istream& text) {
  CpuInfo info{"unknown", {}};
  std::set<std::string> isa;
  for (std::string line; std::getline(text, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string key = line.substr(0, line.find_last_not_of(" \t", colon - 1) + 1);
    const size_t begin = line.find_first_not_of(" \t", colon + 1);
    const std::string value = begin == std::string::npos ? "" : line.substr(begin);
    if (key == "model name" && info.model == "unknown") info.model = value;
    // x86 says "flags", Arm "Features". The first processor speaks for all.
    if ((key == "flags" || key == "Features") && isa.empty()) {
      std::istringstream words(value);
      for (std::string word; words >> word;)
        if (matters(word)) isa.insert(word);
    }
  }
  info.isa.assign(isa.begin(), isa.end());
  return info;
}

nlohmann::ordered_json system_info() {
  utsname names{};
  const bool known = uname(&names) == 0;
  std::ifstream file("/proc/cpuinfo");
  const CpuInfo cpu = parse_cpu_info(file);
  return {{"host", known ? names.nodename : "unknown"},
          {"os", os_name()},
          {"kernel", known ? fmt::format("{} {} {}", names.sysname, names.release, names.machine) : "unknown"},
          {"cpu", cpu.model},
          {"isa", cpu.isa}};
}

nlohmann::ordered_json library_versions() {
  nlohmann::ordered_json versions{
      {"compiler", build_info().compiler},
      {"fmt", version(FMT_VERSION, 100)},
      {"spdlog", version(SPDLOG_VERSION, 100)},
      {"nlohmann_json",
       fmt::format("{}.{}.{}", NLOHMANN_JSON_VERSION_MAJOR, NLOHMANN_JSON_VERSION_MINOR, NLOHMANN_JSON_VERSION_PATCH)},
      {"openssl", OpenSSL_version(OPENSSL_VERSION)},
      {"zlib", zlibVersion()},
      {"libjpeg_turbo", version(LIBJPEG_TURBO_VERSION_NUMBER, 1000)},
      {"libpng", version(png_access_version_number(), 100)},
      {"liblzma", lzma_version_string()},
      {"glibc", gnu_get_libc_version()},
      {"mpi", mpi_library_version()}};
  for (const BackendRow& row : backends()) {
    const BackendKind& kind = row.kind();
    if (&row != &backends()[0]) versions[std::string(row.name)] = kind.status().text;
    for (const auto& [name, version] : kind.versions()) versions[name] = version;
  }
  return versions;
}

}  // namespace lockstep
