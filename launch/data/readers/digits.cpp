#include "launch/data/readers/digits.h"

#include <charconv>

#include "core/error.h"
#include "launch/data/byte_images.h"
#include "launch/files/gzip.h"

namespace lockstep {

namespace {

constexpr size_t count = 1797;
constexpr size_t train_count = 1437;
constexpr size_t pixels = 64;

}  // namespace

Data open_digits() {
  const auto text = gunzip(embedded_digits(), "the embedded digits");
  const char* at = reinterpret_cast<const char*>(text.data());
  const char* end = at + text.size();

  ByteImages::Contents train{.image_shape = {8, 8, 1}, .classes = 10, .white = 16, .pixels = {}, .labels = {}};
  ByteImages::Contents test = train;
  for (size_t i = 0; i < count; ++i) {
    auto& set = i < train_count ? train : test;
    for (size_t field = 0; field <= pixels; ++field) {
      uint8_t value = 0;
      const auto [next, error] = std::from_chars(at, end, value);
      const bool separated = next != end && *next == (field == pixels ? '\n' : ',');
      if (error != std::errc{} || !separated || value > (field == pixels ? 9 : 16))
        throw Error("the embedded digits are damaged at line {}", i + 1);
      (field == pixels ? set.labels : set.pixels).push_back(value);
      at = next + 1;
    }
  }
  if (at != end) throw Error("the embedded digits are longer than {} lines", count);
  return {"digits", std::make_shared<ByteImages>(std::move(train)), std::make_shared<ByteImages>(std::move(test))};
}

}  // namespace lockstep
