// The module of a backend: loaded where it, its libraries and a driver are there; else the program says what is not,
// and computes on the CPU.
#include "core/module.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "core/error.h"
#include "launch/backends/module_entry.h"
#include "tests/support/paths.h"
#include "tests/support/run_command.h"
#include "tests/support/source_files.h"
#include "tests/support/temporary_folder.h"

namespace lockstep::test {
namespace {

namespace fs = std::filesystem;

const fs::path modules = fs::path(binary_dir()) / "tests/modules";

/// The program with that module, where the system's loader finds a driver: any library will do that has its name.
class Program {
 public:
  Program() { fs::create_symlink(fs::path(binary_dir()) / "lib/liblockstep_core.so", folder_.path() / "libcuda.so.1"); }

  Outcome run(const fs::path& module, const std::string& arguments) const {
    return run_command("LOCKSTEP_CUDA_MODULE='" + module.string() + "' LD_LIBRARY_PATH='" + folder_.path().string() +
                       "' timeout 120 " + binary_dir() + "/lockstep " + arguments);
  }

 private:
  testing::TemporaryFolder folder_;
};

/// The line of `version` that begins with that name.
std::string line_of(const Outcome& version, const std::string& name) {
  EXPECT_EQ(version.code, 0) << version.text;
  const size_t at = version.text.find("\n  " + name + " ");
  return at == std::string::npos ? "" : version.text.substr(at + 1, version.text.find('\n', at + 1) - at - 1);
}

TEST(ModuleTest, IsLoadedWithItsLibrariesVersions) {
  const Outcome version = Program().run(modules / "libmodule_stub.so", "version");
  EXPECT_TRUE(line_of(version, "cuda").ends_with(" stub, 1 device")) << version.text;
  EXPECT_TRUE(line_of(version, "stub_library").ends_with(" 4.2")) << version.text;
}

TEST(ModuleTest, ItsErrorsAreThoseOfTheProgram) {
  const Outcome outcome = Program().run(modules / "libmodule_stub.so", "train --data digits --backend cuda --steps 1");
  EXPECT_EQ(outcome.code, 2) << outcome.text;
  EXPECT_EQ(outcome.count("the stub computes nothing"), 1U) << outcome.text;
}

TEST(ModuleTest, SaysWhyItIsNotLoadedAndTheCpuComputes) {
  const Program program;
  const fs::path core = fs::path(binary_dir()) / "lib/liblockstep_core.so";
  for (const auto& [module, why] :
       {std::pair<fs::path, std::string>{modules / "libnone.so", "no module, " + (modules / "libnone.so").string()},
        {modules / "libmodule_needs_absent.so", "module not loaded: libmodule_absent.so: cannot open shared object"},
        {core, core.string() + " is no module of Lockstep"},
        {source_file("README.md"), "module not loaded: " + source_file("README.md") + ": "}}) {
    const std::string line = line_of(program.run(module, "version"), "cuda");
    EXPECT_NE(line.find(why), std::string::npos) << line;
    const Outcome trained = program.run(module, "train --data digits --steps 1");
    EXPECT_EQ(trained.code, 0) << trained.text;
    EXPECT_EQ(trained.count("backend cpu (CUDA: " + why), 1U) << trained.text;
    const Outcome refused = program.run(module, "train --data digits --steps 1 --backend cuda");
    EXPECT_EQ(refused.code, 2) << refused.text;
    EXPECT_EQ(refused.count(why), 1U) << refused.text;
  }
}

TEST(ModuleTest, SharesItsClassesWithTheProgramAndServesOneVersion) {
  const Module module = load_module(modules / "libmodule_stub.so");
  const auto entry = reinterpret_cast<decltype(&lockstep_backend)>(module.function(module_entry));
  ASSERT_TRUE(entry) << module.why;
  ASSERT_TRUE(entry(LOCKSTEP_VERSION));
  EXPECT_THROW(entry(LOCKSTEP_VERSION)->make({}), InputError);
  EXPECT_FALSE(entry("0.0.1"));
  EXPECT_FALSE(load_module(modules / "libnone.so").function(module_entry));
}

TEST(ModuleTest, WithoutADriverItIsNotEvenOpened) {
  if (load_module("libcuda.so.1").handle) GTEST_SKIP() << "there is a driver here";
  const std::string file = (modules / "libmodule_stub.so").string();
  const Outcome version = run_command("LOCKSTEP_CUDA_MODULE='" + file + "' " + binary_dir() + "/lockstep version");
  EXPECT_NE(line_of(version, "cuda").find("module not loaded, no driver: libcuda.so.1: "), std::string::npos)
      << version.text;
}

}  // namespace
}  // namespace lockstep::test
