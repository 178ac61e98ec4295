// libFuzzer's entry points. LOCKSTEP_FUZZ_TARGET names the target; with LOCKSTEP_FUZZ_SEEDS, a folder, its seeds are
// written there first.
#include <cstdlib>
#include <fstream>

#include "core/error.h"
#include "tests/fuzz/targets.h"

namespace {

const lockstep::fuzz::Target& chosen() {
  static const lockstep::fuzz::Target& target = []() -> const lockstep::fuzz::Target& {
    std::vector<std::string> names;
    for (const auto& one : lockstep::fuzz::targets()) names.push_back(one.name);
    const char* given = std::getenv("LOCKSTEP_FUZZ_TARGET");
    return lockstep::fuzz::targets()[lockstep::index_of("fuzz target", given ? given : "", names)];
  }();
  return target;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  const char* folder = std::getenv("LOCKSTEP_FUZZ_SEEDS");
  if (!folder) return 0;
  int number = 0;
  for (const auto& seed : chosen().seeds())
    std::ofstream(std::string(folder) + "/seed" + std::to_string(number++), std::ios::binary)
        .write(reinterpret_cast<const char*>(seed.data()), static_cast<std::streamsize>(seed.size()));
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  lockstep::fuzz::run(chosen(), {data, size});
  return 0;
}
