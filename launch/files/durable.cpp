#include "launch/files/durable.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "core/error.h"

namespace lockstep {

namespace fs = std::filesystem;

TemporaryFile::TemporaryFile(const fs::path& beside)
    : name_(beside.string() + ".XXXXXX"), descriptor_(::mkstemp(name_.data())) {
  if (descriptor_ < 0) throw Error("cannot write '{}': {}", beside.string(), std::strerror(errno));
  // mkstemp makes files for their owner alone; others may read a run as far as its directory lets them.
  static_cast<void>(::fchmod(descriptor_, 0644));
}

TemporaryFile::~TemporaryFile() {
  ::close(descriptor_);
  if (!kept_) ::unlink(name_.c_str());
}

void TemporaryFile::write(std::span<const std::byte> bytes) {
  hash_.update(bytes);
  bytes_ += bytes.size();
  while (!bytes.empty()) {
    const ssize_t n = ::write(descriptor_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw Error("cannot write '{}': {}", name_, std::strerror(errno));
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
}

void TemporaryFile::keep_as(const fs::path& path) {
  // Before the rename: otherwise a crash could leave the new name on an empty file.
  if (::fsync(descriptor_) != 0) throw Error("cannot write '{}': {}", name_, std::strerror(errno));
  rename_durably(name_, path);
  kept_ = true;
}

void write_atomically(const fs::path& path, std::string_view contents) {
  TemporaryFile file(path);
  file.write(contents);
  file.keep_as(path);
}

void sync_folder(const fs::path& folder) {
  const fs::path named = folder.empty() ? fs::path(".") : folder;
  const int descriptor = ::open(named.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) throw Error("cannot open the folder '{}': {}", named.string(), std::strerror(errno));
  const int result = ::fsync(descriptor), reason = errno;
  ::close(descriptor);
  // Some network file systems have nothing to sync for a folder, and say that the call is not valid.
  if (result != 0 && reason != EINVAL)
    throw Error("cannot sync the folder '{}': {}", named.string(), std::strerror(reason));
}

void rename_durably(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    throw Error("cannot rename '{}' to '{}': {}", from.string(), to.string(), std::strerror(errno));
  sync_folder(to.parent_path());
}

}  // namespace lockstep
