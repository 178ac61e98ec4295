#include "launch/files/gzip.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "core/error.h"

namespace lockstep {

namespace {

class File {
 public:
  explicit File(const char* path) : descriptor_(::open(path, O_RDONLY | O_CLOEXEC)) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

class Inflater {
 public:
  explicit Inflater(const std::string& file) {
    // 15: the largest window; 16: a gzip header, with its checksum verified.
    if (inflateInit2(&stream, 15 + 16) != Z_OK) throw Error("{}: zlib could not start", file);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater() { inflateEnd(&stream); }

  z_stream stream{};
};

}  // namespace

std::vector<uint8_t> read_file(const std::filesystem::path& path, size_t most) {
  const File file(path.c_str());
  struct stat status {};
  if (file.descriptor() < 0 || fstat(file.descriptor(), &status) != 0)
    throw InputError("cannot read '{}': {}", path.string(), std::strerror(errno));
  if (!S_ISREG(status.st_mode)) throw InputError("cannot read '{}': it is not a regular file", path.string());
  std::vector<uint8_t> bytes(std::min(static_cast<size_t>(status.st_size), most));
  size_t at = 0;
  while (at < bytes.size()) {
    const ssize_t n = ::read(file.descriptor(), bytes.data() + at, bytes.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw InputError("cannot read '{}' at byte {}: {}", path.string(), at, std::strerror(errno));
    if (n == 0) throw InputError("'{}' shrank from {} to {} bytes while it was read", path.string(), bytes.size(), at);
    at += static_cast<size_t>(n);
  }
  return bytes;
}

std::vector<uint8_t> gunzip(std::span<const uint8_t> packed, const std::string& file) {
  constexpr size_t step = std::numeric_limits<uInt>::max();  // zlib counts in 32 bits
  Inflater inflater(file);
  z_stream& z = inflater.stream;
  std::vector<uint8_t> unpacked(std::max<size_t>(packed.size() * 4, 1 << 16));
  size_t in = 0;
  size_t out = 0;
  while (true) {
    if (out == unpacked.size()) unpacked.resize(unpacked.size() * 2);
    // zlib never writes through next_in; its type lacks a const.
    z.next_in = const_cast<uint8_t*>(packed.data() + in);
    z.avail_in = static_cast<uInt>(std::min(packed.size() - in, step));
    z.next_out = unpacked.data() + out;
    z.avail_out = static_cast<uInt>(std::min(unpacked.size() - out, step));
    const int result = inflate(&z, Z_NO_FLUSH);
    in = static_cast<size_t>(z.next_in - packed.data());
    out = static_cast<size_t>(z.next_out - unpacked.data());
    if (result == Z_STREAM_END) {
      if (in == packed.size()) break;
      inflateReset(&z);  // another member, or an error at its header
    } else if (in == packed.size() && (result == Z_OK || result == Z_BUF_ERROR) && z.avail_out > 0) {
      throw InputError("{}: the gzip data ends at byte {} before it is complete ({} bytes unpacked)", file, in, out);
    } else if (result != Z_OK) {
      throw InputError("{}: corrupt gzip data at byte {}: {}", file, in, z.msg ? z.msg : zError(result));
    }
  }
  unpacked.resize(out);
  return unpacked;
}

}  // namespace lockstep
