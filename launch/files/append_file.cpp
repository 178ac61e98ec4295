#include "launch/files/append_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace lockstep {

AppendFile::AppendFile(const std::filesystem::path& path, If exists) : path_(path.string()) {
  const int refuse = exists == If::exists_refuse ? O_EXCL : 0;
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | refuse, 0666);
  if (descriptor_ < 0) throw InputError("cannot create '{}': {}", path_, std::strerror(errno));
}

AppendFile::~AppendFile() { ::close(descriptor_); }

void AppendFile::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(descriptor_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw Error("cannot write '{}': {}", path_, std::strerror(errno));
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

int64_t AppendFile::size() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) throw Error("cannot read '{}': {}", path_, std::strerror(errno));
  return status.st_size;
}

void AppendFile::cut(int64_t bytes) {
  if (size() > bytes && ::ftruncate(descriptor_, bytes) != 0)
    throw Error("cannot shorten '{}': {}", path_, std::strerror(errno));
}

}  // namespace lockstep
