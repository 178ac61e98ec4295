// The rooms of the tree: each includes only what lies below it, and none is crowded.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "tests/support/source_files.h"
#include "tests/support/temporary_folder.h"

namespace lockstep::test {
namespace {

namespace fs = std::filesystem;

/// Lower ones first. A folder that is not named here belongs to the one around it.
const std::vector<std::string> rooms{
    "core",
    "core/graph",
    "core/plan",
    "layers/base",
    "layers/activations",
    "layers/normalization",
    "layers/optimizers/formulas",
    "layers/optimizers",
    "layers/losses",
    "layers/metrics",
    "layers/reshaping",
    "layers/pooling",
    "layers/merging",
    "layers/regularization",
    "layers/linear",
    "layers",
    "layers/cpu",
    "layers/cuda",
    "layers/network",
    "layers/passes",
    "layers/zoo",
    "parallel/comm",
    "parallel/comm/nccl",
    "parallel/mesh",
    "parallel/reduction",
    "parallel/collectives",
    "parallel/placement",
    "launch/files",
    "launch/backends",
    "launch/testing",
    "launch/host",
    "launch/data",
    "launch/data/image",
    "launch/data/feed",
    "launch/data/readers",
    "launch/plan",
    "launch/plan/view",
    "launch/train",
    "launch/record",
    "launch/callbacks",
    "launch/estimate",
    "launch/selftest",
    "launch/model",
    "launch",
    "launch/cli/options",
    "launch/cli/verbs",
    "launch/cli",
    "examples",
    "benchmarks",
    "tests",
};

/// The place in `rooms` of a file; that of none where it is in no room.
size_t room_of(const std::string& file) {
  for (std::string folder = file; folder.find('/') != std::string::npos;) {
    folder.resize(folder.rfind('/'));
    if (const auto found = std::ranges::find(rooms, folder); found != rooms.end())
      return static_cast<size_t>(found - rooms.begin());
  }
  return rooms.size();
}

std::vector<std::string> sources(const fs::path& root) {
  std::vector<std::string> files;
  for (const char* floor : {"core", "layers", "parallel", "launch", "examples", "benchmarks", "tests"}) {
    if (!fs::exists(root / floor)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / floor))
      if (const auto type = entry.path().extension();
          type == ".h" || type == ".cpp" || type == ".cu" || type == ".cuh" || type == ".inc")
        files.push_back(fs::relative(entry.path(), root).generic_string());
  }
  std::ranges::sort(files);
  return files;
}

/// "A includes B, which lies above it", of all such.
std::vector<std::string> upward(const fs::path& root) {
  std::vector<std::string> found;
  for (const std::string& file : sources(root)) {
    std::ifstream text(root / file);
    for (std::string line; std::getline(text, line);) {
      if (!line.starts_with("#include \"")) continue;
      const std::string included = line.substr(10, line.rfind('"') - 10);
      if (fs::exists(root / included) && room_of(included) > room_of(file))
        found.push_back(file + " includes " + included + ", which lies above it");
    }
  }
  return found;
}

TEST(Rooms, IncludeOnlyWhatLiesBelow) {
  const fs::path root = source_file("");
  EXPECT_GT(sources(root).size(), 500U);
  for (const std::string& fault : upward(root)) ADD_FAILURE() << fault;
}

TEST(Rooms, NegativeControlUpwardIncludesAreFound) {
  const testing::TemporaryFolder folder;
  const auto write = [&](const std::string& name, const std::string& text) {
    fs::create_directories((folder.path() / name).parent_path());
    testing::write_file(folder.path() / name, text);
  };
  write("launch/plan/step.h", "#include \"core/graph/op.h\"\n#include \"launch/data/image/jpeg.h\"\n");
  write("launch/data/image/jpeg.h", "#include \"launch/files/gzip.h\"\n");
  write("launch/files/gzip.h", "#include \"launch/plan/step.h\"\n");
  write("core/graph/op.h", "#include \"layers/base/layer.h\"\n");
  write("layers/base/layer.h", "");
  const std::vector<std::string> expected{"core/graph/op.h includes layers/base/layer.h, which lies above it",
                                          "launch/files/gzip.h includes launch/plan/step.h, which lies above it"};
  EXPECT_EQ(upward(folder.path()), expected);
}

TEST(Rooms, AreNotCrowdedAndTheirFilesAreNotLong) {
  const fs::path root = source_file("");
  std::map<std::string, int> files;
  for (const std::string& file : sources(root)) {
    ++files[file.substr(0, file.rfind('/'))];
    std::ifstream text(root / file);
    int lines = 0;
    for (std::string line; std::getline(text, line);) ++lines;
    EXPECT_LE(lines, 400) << file;
  }
  for (const auto& [folder, count] : files) EXPECT_LE(count, 20) << folder;
  for (const std::string& room : rooms) {
    if (!room.starts_with("launch")) continue;
    EXPECT_TRUE(files.contains(room)) << room;
    EXPECT_TRUE(fs::exists(root / room / "README.md")) << room;
  }
}

}  // namespace
}  // namespace lockstep::test
