#include "launch/files/xz.h"

#include <lzma.h>

#include <algorithm>

#include "core/error.h"

namespace lockstep {

namespace {

class Decoder {
 public:
  explicit Decoder(const std::string& file) {
    constexpr uint64_t most_memory = uint64_t{1} << 30;  // a damaged header may ask for any
    if (lzma_stream_decoder(&stream, most_memory, LZMA_CONCATENATED) != LZMA_OK)
      throw Error("{}: liblzma could not start", file);
  }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  ~Decoder() { lzma_end(&stream); }

  lzma_stream stream = LZMA_STREAM_INIT;
};

}  // namespace

std::vector<uint8_t> unxz(std::span<const uint8_t> packed, const std::string& file) {
  Decoder decoder(file);
  lzma_stream& z = decoder.stream;
  std::vector<uint8_t> unpacked(std::max<size_t>(packed.size() * 2, 1 << 16));
  z.next_in = packed.data();
  z.avail_in = packed.size();
  while (true) {
    if (z.total_out == unpacked.size()) unpacked.resize(unpacked.size() * 2);
    z.next_out = unpacked.data() + z.total_out;
    z.avail_out = unpacked.size() - z.total_out;
    const lzma_ret result = lzma_code(&z, LZMA_FINISH);
    if (result == LZMA_STREAM_END) break;
    if (result == LZMA_OK) continue;
    if (result == LZMA_BUF_ERROR && z.avail_in == 0)
      throw InputError("{}: the xz data ends at byte {} before it is complete ({} bytes unpacked)", file, z.total_in,
                       z.total_out);
    throw InputError("{}: corrupt xz data at byte {} (liblzma's error {})", file, z.total_in, static_cast<int>(result));
  }
  unpacked.resize(z.total_out);
  return unpacked;
}

}  // namespace lockstep
