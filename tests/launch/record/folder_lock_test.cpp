// The lock of a folder: who gets it, when it is given back, and which that were left behind are replaced.
#include "launch/record/folder_lock.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>
#include <optional>

#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

namespace lockstep {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::says;
using testing::read_text;
using testing::write_file;
using Json = nlohmann::ordered_json;

class Lock : public ::testing::Test {
 protected:
  std::string error() const {
    return error_of([&] { FolderLock(folder_.path()); });
  }
  /// What this process writes into its lock.
  Json mine() const {
    const FolderLock lock(folder_.path());
    return Json::parse(read_text(file_));
  }
  testing::TemporaryFolder folder_;
  fs::path file_ = folder_.path() / FolderLock::name;
};

TEST_F(Lock, OneHasItUntilItEnds) {
  {
    const FolderLock lock(folder_.path());
    EXPECT_TRUE(says(error(), {folder_.path().string(), "in use", fmt::format("process {} on ", ::getpid())}));
    EXPECT_TRUE(fs::exists(file_));
  }
  EXPECT_FALSE(fs::exists(file_));
  EXPECT_EQ(error(), "");
  EXPECT_THROW(
      {
        const FolderLock lock(folder_.path());
        throw Error("the run fails");
      },
      Error);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 0);
}

TEST_F(Lock, MakesTheFolderAndTakesItAwayWhereNothingIsInIt) {
  const fs::path deep = folder_.path() / "a/b";
  {
    const FolderLock lock(deep / "");
    EXPECT_TRUE(fs::is_directory(deep));
  }
  EXPECT_FALSE(fs::exists(folder_.path() / "a"));
  {
    const FolderLock lock(deep);
    write_file(folder_.path() / "a" / "kept", "x");
  }
  EXPECT_FALSE(fs::exists(deep));
  EXPECT_EQ(read_text(folder_.path() / "a" / "kept"), "x");
}

TEST_F(Lock, RefusesWhereNothingCanBeWritten) {
  write_file(folder_.path() / "file", "x");
  for (const auto& path : {folder_.path() / "file", folder_.path() / "file/run"})
    EXPECT_TRUE(says(error_of([&] { FolderLock lock(path); }), {path.string(), "cannot be written", "ot a directory"}));
  EXPECT_EQ(read_text(folder_.path() / "file"), "x");
  EXPECT_TRUE(says(error_of([&] { FolderLock lock("/proc/lockstep/run"); }), {"/proc/lockstep/run"}));
  // The name of the last folder is too long for any file system: the ones above it must go again.
  const fs::path long_name = folder_.path() / "new" / std::string(5000, 'x');
  EXPECT_TRUE(says(error_of([&] { FolderLock lock(long_name); }), {"cannot be written", "too long"}));
  EXPECT_FALSE(fs::exists(folder_.path() / "new"));
  if (::geteuid() == 0) return;  // for whom no folder is read-only
  fs::permissions(folder_.path(), fs::perms::owner_read | fs::perms::owner_exec);
  EXPECT_TRUE(says(error(), {"Permission denied"}));
  fs::permissions(folder_.path(), fs::perms::owner_all);
}

TEST_F(Lock, WhatAnEndedProcessHasLeftIsReplaced) {
  // Killed while it holds it. Nobody has asked for its end: it is a zombie until then.
  const pid_t child = ::fork();
  if (child == 0) {
    new FolderLock(folder_.path());
    ::kill(::getpid(), SIGKILL);
  }
  siginfo_t ended{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT), 0);
  ASSERT_EQ(Json::parse(read_text(file_))["pid"], child) << "it was left behind, or this tests nothing";
  EXPECT_EQ(error(), "");
  EXPECT_FALSE(fs::exists(file_));
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);

  // Its number is another process' now.
  Json left = mine();
  left["process_start"] = left["process_start"].get<int64_t>() - 1;
  write_file(file_, left.dump());
  EXPECT_EQ(error(), "");
  // The machine was started again: its numbers say nothing.
  left = mine();
  left["boot"] = "another";
  write_file(file_, left.dump());
  EXPECT_EQ(error(), "");
  // Of another container on this kernel, which would still have the file locked.
  left = mine();
  left["pid_namespace"] = "pid:[1]";
  write_file(file_, left.dump());
  EXPECT_EQ(error(), "");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 0) << "and no trace of replacing";
}

TEST_F(Lock, WhatMayStillLiveIsNotReplaced) {
  // This process, though it has no file open: as where a file system forgets who has.
  Json other = mine();
  write_file(file_, other.dump());
  EXPECT_TRUE(says(error(), {"in use", fmt::format("process {} on ", ::getpid())}));
  other["boot"] = "another";
  other["host"] = "elsewhere";
  other["pid"] = 7;
  const std::string foreign = other.dump();
  write_file(file_, foreign);
  EXPECT_TRUE(says(error(), {"in use: process 7 on elsewhere", other["started"], "remove this file", file_.string()}));
  EXPECT_EQ(read_text(file_), foreign);
  for (const char* text : {"", "{", "{\"pid\": 3}", "[]"}) {
    write_file(file_, text);
    EXPECT_TRUE(says(error(), {"in use", file_.string(), "remove it"})) << text;
    EXPECT_EQ(read_text(file_), text);
  }
  fs::remove(file_);
  // Locked by a process that calls itself by another name, as in another container.
  const FolderLock lock(folder_.path());
  other = Json::parse(read_text(file_));
  other["pid_namespace"] = "pid:[1]";
  write_file(file_, other.dump());  // the same file: it stays locked
  EXPECT_TRUE(says(error(), {"in use"}));
}

TEST_F(Lock, RemovedByHandItIsTheNextOnes) {
  std::optional<FolderLock> first(std::in_place, folder_.path());
  fs::remove(file_);
  const FolderLock second(folder_.path());
  first.reset();
  EXPECT_TRUE(fs::exists(file_)) << "the first one's end leaves the second's alone";
}

/// Takes the folder so many times, and ends with it. Whoever has it makes a file that must not be there. Returns 0
/// where all is well.
int compete(const fs::path& folder, int turns) {
  const fs::path inside = folder / "inside";
  while (true) {
    try {
      const FolderLock lock(folder);
      const int descriptor = ::open(inside.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644);
      if (descriptor < 0) return 1;
      ::close(descriptor);
      ::sched_yield();
      if (::unlink(inside.c_str()) != 0) return 2;
      if (--turns == 0) ::_exit(0);  // which leaves the lock for the others to replace
    } catch (const InputError&) {
      ::sched_yield();
    }
  }
}

TEST_F(Lock, NeverTwoHaveItHoweverManyFindTheSameOneLeftBehind) {
  for (int round = 0; round < 8; ++round) {
    // Left by a process that is gone: all of them see it at once.
    const pid_t gone = ::fork();
    if (gone == 0) ::_exit(compete(folder_.path(), 1));
    ASSERT_EQ(::waitpid(gone, nullptr, 0), gone);
    ASSERT_TRUE(fs::exists(file_));
    std::vector<pid_t> children;
    for (int i = 0; i < 6; ++i) {
      const pid_t child = ::fork();
      if (child == 0) ::_exit(compete(folder_.path(), 5));
      children.push_back(child);
    }
    for (const pid_t child : children) {
      int status = 0;
      ASSERT_EQ(::waitpid(child, &status, 0), child);
      EXPECT_EQ(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 0) << "round " << round;
    }
  }
}

}  // namespace
}  // namespace lockstep
