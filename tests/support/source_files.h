// Files of the repository that tests read. They lie in the folder that the environment's LOCKSTEP_TEST_SOURCE names,
// and where it names none in the one that was built from, which need not be there on the machine that runs the tests.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "core/error.h"
#include "tests/support/paths.h"

namespace lockstep::test {

/// `name` is relative to the repository: "examples/small.json".
inline std::string source_file(const std::string& name) {
  const char* folder = std::getenv("LOCKSTEP_TEST_SOURCE");
  return (std::filesystem::path(folder ? folder : source_dir()) / name).string();
}

/// tests/golden/`name`, as the script make_* beside it has written it. Throws Error where it is not there.
inline nlohmann::json golden_json(const std::string& name) {
  const std::string path = source_file("tests/golden/" + name);
  std::ifstream file(path);
  if (!file) throw Error("cannot open {}: expected the repository in LOCKSTEP_TEST_SOURCE", path);
  return nlohmann::json::parse(file);
}

}  // namespace lockstep::test
