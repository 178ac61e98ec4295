#include "launch/data/readers/npz.h"

#include <zlib.h>

#include <algorithm>

#include "core/error.h"

namespace lockstep {

namespace {

/// ZIP's records (PKWARE APPNOTE 6.3): the directory at the end says where each member's own header is.
class Zip {
 public:
  Zip(std::span<const uint8_t> bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  struct Member {
    std::string name;
    uint16_t method = 0;
    uint32_t checksum = 0;
    uint64_t packed = 0, unpacked = 0, header = 0;
  };

  std::vector<Member> members() const {
    const size_t end = find_end();
    uint64_t count = number(end + 10, 2), at = number(end + 16, 4);
    // NumPy writes 64-bit records where a member may be large; the end record then only points to them.
    if (end >= 20 && number(end - 20, 4) == 0x07064b50) {
      const uint64_t large = number(end - 12, 8);
      if (number(large, 4) != 0x06064b50) throw damaged(large, "no 64-bit end record");
      count = number(large + 32, 8);
      at = number(large + 48, 8);
    }
    std::vector<Member> found;
    for (uint64_t i = 0; i < count; ++i) {
      if (number(at, 4) != 0x02014b50) throw damaged(at, "no directory entry");
      found.push_back(member_at(at));
      at += 46 + number(at + 28, 2) + number(at + 30, 2) + number(at + 32, 2);
    }
    return found;
  }

  std::vector<uint8_t> unpack(const Member& member) const {
    if (number(member.header, 4) != 0x04034b50) throw damaged(member.header, "no member header");
    const uint64_t begin = member.header + 30 + number(member.header + 26, 2) + number(member.header + 28, 2);
    check(begin, member.packed);
    const std::span<const uint8_t> packed = bytes_.subspan(begin, member.packed);
    std::vector<uint8_t> data;
    if (member.method == 0)
      data.assign(packed.begin(), packed.end());
    else if (member.method == 8)
      data = inflate_all(packed, member, begin);
    else
      throw damaged(member.header, fmt::format("method {}, expected 0 (stored) or 8 (deflated)", member.method));
    if (data.size() != member.unpacked || crc32_z(0, data.data(), data.size()) != member.checksum)
      throw damaged(begin, fmt::format("the data of '{}' does not match its size and checksum", member.name));
    return data;
  }

 private:
  InputError damaged(uint64_t at, const std::string& what) const {
    return InputError("{}: byte {}: {}", file_, at, what);
  }
  void check(uint64_t at, uint64_t count) const {
    if (at > bytes_.size() || count > bytes_.size() - at)
      throw InputError("{}: the file ends at byte {}, expected {} bytes at byte {}", file_, bytes_.size(), count, at);
  }
  uint64_t number(uint64_t at, size_t count) const {
    check(at, count);
    uint64_t value = 0;
    for (size_t i = count; i-- > 0;) value = value << 8 | bytes_[at + i];
    return value;
  }
  /// A comment of up to 65,535 bytes may follow the end record.
  size_t find_end() const {
    constexpr size_t record = 22;
    if (bytes_.size() >= record)
      for (size_t at = bytes_.size() - record;; --at) {
        if (number(at, 4) == 0x06054b50) return at;
        if (at == 0 || bytes_.size() - record - at == 0xFFFF) break;
      }
    throw InputError("{}: byte {}: the file ends without a ZIP directory: it is no .npz, or was cut off", file_,
                     bytes_.size());
  }
  Member member_at(uint64_t at) const {
    Member member{.name = {},
                  .method = static_cast<uint16_t>(number(at + 10, 2)),
                  .checksum = static_cast<uint32_t>(number(at + 16, 4)),
                  .packed = number(at + 20, 4),
                  .unpacked = number(at + 24, 4),
                  .header = number(at + 42, 4)};
    const uint64_t name = number(at + 28, 2), extra = number(at + 30, 2);
    check(at + 46, name + extra);
    member.name.assign(bytes_.begin() + static_cast<ptrdiff_t>(at + 46),
                       bytes_.begin() + static_cast<ptrdiff_t>(at + 46 + name));
    // Numbers that do not fit are in the 64-bit field, in this order.
    for (uint64_t field = at + 46 + name, end = field + extra; field + 4 <= end;) {
      const uint64_t length = number(field + 2, 2);
      if (number(field, 2) == 1) {
        uint64_t value = field + 4;
        for (uint64_t* wide : {&member.unpacked, &member.packed, &member.header})
          if (*wide == 0xFFFFFFFF) {
            *wide = number(value, 8);
            value += 8;
          }
      }
      field += 4 + length;
    }
    return member;
  }
  std::vector<uint8_t> inflate_all(std::span<const uint8_t> packed, const Member& member, uint64_t begin) const {
    // Deflate packs at most 1032 to 1: a size beyond that is damage, not a reason to take memory.
    constexpr uint64_t most_ratio = 1032;
    if (member.unpacked / most_ratio > packed.size() + 1 || packed.size() > UINT32_MAX || member.unpacked > UINT32_MAX)
      throw damaged(begin, fmt::format("'{}' unpacks from {} to {} bytes, expected below 4 GiB", member.name,
                                       packed.size(), member.unpacked));
    std::vector<uint8_t> data(member.unpacked);
    z_stream z{};
    if (inflateInit2(&z, -15) != Z_OK) throw Error("{}: zlib could not start", file_);
    // zlib never writes through next_in; its type lacks a const.
    z.next_in = const_cast<uint8_t*>(packed.data());
    z.avail_in = static_cast<uInt>(packed.size());
    z.next_out = data.data();
    z.avail_out = static_cast<uInt>(data.size());
    const int result = inflate(&z, Z_FINISH);
    const uint64_t in = packed.size() - z.avail_in, out = data.size() - z.avail_out;
    inflateEnd(&z);
    if (result != Z_STREAM_END || out != data.size())
      throw damaged(begin + in, fmt::format("corrupt deflate data of '{}'", member.name));
    return data;
  }

  std::span<const uint8_t> bytes_;
  const std::string& file_;
};

}  // namespace

std::map<std::string, Array> parse_npz(std::span<const uint8_t> bytes, const std::string& file,
                                       std::initializer_list<std::string_view> names) {
  const Zip zip(bytes, file);
  std::map<std::string, Array> arrays;
  for (const auto& member : zip.members()) {
    if (!member.name.ends_with(".npy")) continue;
    const std::string name = member.name.substr(0, member.name.size() - 4);
    if (std::ranges::find(names, name) == names.end()) continue;
    arrays.emplace(name, parse_npy(zip.unpack(member), file + ": " + name));
  }
  return arrays;
}

}  // namespace lockstep
