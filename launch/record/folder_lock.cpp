#include "launch/record/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <thread>

#include "core/error.h"
#include "core/log.h"
#include "launch/record/manifest.h"

namespace lockstep {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

/// Empty where it cannot be read.
std::string text_of(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

std::string link_of(const fs::path& path) {
  std::error_code error;
  const fs::path target = fs::read_symlink(path, error);
  return error ? "" : target.string();
}

struct Process {
  char state = 0;     // as ps has it; 0 where there is no such process
  int64_t start = 0;  // in the kernel's ticks since it started: tells apart processes that had one number
};

/// proc(5): the name, in parentheses, may hold any character; the state is the first field after it, the start the
/// 20th.
Process process(int64_t pid) {
  const std::string text = text_of(fmt::format("/proc/{}/stat", pid));
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return {};
  std::istringstream fields(text.substr(name_end + 1));
  Process found;
  std::string skipped;
  fields >> found.state;
  for (int field = 2; field < 20; ++field) fields >> skipped;
  fields >> found.start;
  return found;
}

/// Who has a lock.
struct Holder {
  std::string host, started;
  int64_t pid = 0, process_start = 0;
  std::string boot, pid_namespace;  // of the kernel, and within it of what counts its processes, as containers do

  static Holder me() {
    std::array<char, 256> host{};
    ::gethostname(host.data(), host.size() - 1);
    std::string boot = text_of("/proc/sys/kernel/random/boot_id");
    if (boot.ends_with('\n')) boot.pop_back();
    return {.host = host.data(),
            .started = utc(std::chrono::system_clock::now()),
            .pid = ::getpid(),
            .process_start = process(::getpid()).start,
            .boot = boot,
            .pid_namespace = link_of("/proc/self/ns/pid")};
  }
  std::string json() const {
    return Json{{"host", host},       {"pid", pid},
                {"started", started}, {"process_start", process_start},
                {"boot", boot},       {"pid_namespace", pid_namespace}}
               .dump(-1, ' ', false, Json::error_handler_t::replace) +
           "\n";
  }
  static std::optional<Holder> of(const std::string& text) {
    try {
      const Json json = Json::parse(text);
      return Holder{.host = json.at("host"),
                    .started = json.at("started"),
                    .pid = json.at("pid"),
                    .process_start = json.at("process_start"),
                    .boot = json.at("boot"),
                    .pid_namespace = json.at("pid_namespace")};
    } catch (const Json::exception&) {
      return {};
    }
  }
};

/// Whether a living process has locked the open file; none where the file system does not tell.
std::optional<bool> held(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return {};
  const bool granted = ::flock(descriptor, LOCK_SH | LOCK_NB) == 0;
  const bool told = granted || errno == EWOULDBLOCK;
  ::close(descriptor);
  return told ? std::optional(!granted) : std::nullopt;
}

enum class State { lives, ended, unknown };

State state_of(const Holder& holder, const fs::path& path) {
  const std::optional<bool> locked = held(path);
  if (locked.value_or(false)) return State::lives;
  const Holder me = Holder::me();
  if (holder.boot == me.boot && !me.boot.empty()) {
    // Of another container, whose processes have numbers of their own: the kernel knows the locks of all.
    if (holder.pid_namespace != me.pid_namespace) return locked ? State::ended : State::unknown;
    const Process now = process(holder.pid);
    const bool gone = now.state == 0 || now.state == 'Z' || now.state == 'X';
    return gone || now.start != holder.process_start ? State::ended : State::lives;
  }
  return holder.host == me.host ? State::ended : State::unknown;  // the machine was started again
}

InputError refusal(const fs::path& folder, const std::string& why) {
  return InputError("the folder '{}' cannot be written: {}", folder.string(), why);
}

}  // namespace

FolderLock::FolderLock(const fs::path& folder) : folder_(folder), path_(folder / name) {
  constexpr int most = 50;
  for (int tries = 0; tries < most; ++tries) {
    try {
      if (make()) return;
      replace();
    } catch (...) {
      remove_made();
      throw;
    }
    if (tries > 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));  // another is at it
  }
  remove_made();
  throw InputError(
      "the folder '{}' is in use: {} is there, and does not say by whom; remove it when nothing writes there",
      folder_.string(), path_.string());
}

FolderLock::~FolderLock() {
  struct stat mine {
  }, there{};
  // Somebody may have removed it, and another process have taken the folder since.
  if (::fstat(descriptor_, &mine) == 0 && ::stat(path_.c_str(), &there) == 0 && mine.st_ino == there.st_ino)
    ::unlink(path_.c_str());
  ::close(descriptor_);
  remove_made();
}

bool FolderLock::make() {
  fs::path part;
  std::error_code error;
  for (const auto& one : folder_) {
    part /= one;
    if (part.has_filename() && fs::create_directory(part, error) && !error) made_.push_back(part);
  }
  if (std::error_code ignored; !fs::is_directory(folder_, ignored))
    throw refusal(folder_, fs::exists(folder_, ignored) ? "it is not a directory" : error.message());
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor_ < 0) {
    // ENOENT: who made the folder has removed it again.
    if (errno == EEXIST || errno == ENOENT) return false;
    throw refusal(folder_, std::strerror(errno));
  }
  static_cast<void>(::flock(descriptor_, LOCK_EX | LOCK_NB));  // not every file system has it: see state_of
  const std::string text = Holder::me().json();
  errno = ENOSPC;  // of a write that is cut off
  if (::write(descriptor_, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(descriptor_) == 0)
    return true;
  const std::string why = std::strerror(errno);
  ::unlink(path_.c_str());
  ::close(descriptor_);
  throw refusal(folder_, why);
}

void FolderLock::replace() const {
  const std::string text = text_of(path_);
  const auto holder = Holder::of(text);
  if (!holder) return;  // it is being written, or gone
  const State state = state_of(*holder, path_);
  const auto who = [&] {
    return fmt::format("process {} on {} writes into it since {}", holder->pid, holder->host, holder->started);
  };
  if (state == State::lives) throw InputError("the folder '{}' is in use: {}", folder_.string(), who());
  if (state == State::unknown)
    throw InputError("the folder '{}' is in use: {}, as {} says; if that process has ended, remove this file",
                     folder_.string(), who(), path_.string());
  // Of several that have seen the same lock only one may remove it, and none the lock that came after it.
  const fs::path marker = fmt::format("{}.{}-{}", path_.string(), holder->pid, holder->process_start);
  const int descriptor = ::open(marker.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor < 0) return;
  ::close(descriptor);
  if (text_of(path_) == text && ::unlink(path_.c_str()) == 0)
    log().info("{} was left by process {} on {}, which has ended: replaced", path_.string(), holder->pid, holder->host);
  ::unlink(marker.c_str());
}

void FolderLock::remove_made() const noexcept {
  std::error_code ignored;
  for (auto folder = made_.rbegin(); folder != made_.rend(); ++folder) fs::remove(*folder, ignored);
}

}  // namespace lockstep
