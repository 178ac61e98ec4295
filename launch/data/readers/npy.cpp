#include "launch/data/readers/npy.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "core/error.h"

namespace lockstep {

namespace {

/// The text after 'key': in a header, which is a Python dictionary of one line.
std::string_view entry(std::string_view header, std::string_view key) {
  const size_t at = header.find(key);
  if (at == std::string_view::npos) return {};
  std::string_view rest = header.substr(at + key.size());
  return rest.substr(std::min(rest.find_first_not_of(" :"), rest.size()));
}

std::vector<int64_t> parse_shape(std::string_view text, const std::string& where) {
  std::vector<int64_t> shape;
  const size_t end = text.find(')');
  if (!text.starts_with('(') || end == std::string_view::npos)
    throw InputError("{}: no shape, expected 'shape': (N, …)", where);
  const char* at = text.data() + 1;
  const char* const last = text.data() + end;
  constexpr int64_t most = int64_t{1} << 40;
  int64_t all = 1;
  while (at != last) {
    if (*at == ' ' || *at == ',') {
      ++at;
      continue;
    }
    int64_t side = 0;
    const auto [next, error] = std::from_chars(at, last, side);
    if (error != std::errc{} || side < 0 || side > most || (side > 0 && all > most / side) || shape.size() == 8)
      throw InputError("{}: shape {}, expected up to 8 sides from 0, at most {} elements", where,
                       text.substr(0, end + 1), most);
    all *= std::max<int64_t>(side, 1);
    shape.push_back(side);
    at = next;
  }
  return shape;
}

/// "'<f4'" to kind and size; returns whether the bytes of a number are in big-endian order.
bool parse_type(std::string_view text, Array& array, const std::string& where) {
  const std::string_view type = text.substr(0, text.find(text.empty() ? '\'' : text[0], 1));
  constexpr std::string_view bytes[] = {"u1", "i1", "b1"},
                             longer[] = {"u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"};
  const auto is_one_of = [&](std::span<const std::string_view> known) {
    return std::ranges::find(known, type.substr(2)) != known.end();
  };
  const char order = type.size() == 4 ? type[1] : ' ';
  if (!(order == '|' && is_one_of(bytes)) && !((order == '<' || order == '>') && is_one_of(longer)))
    throw InputError("{}: type {}, expected whole numbers, f4 or f8 (numpy.astype makes one of another)", where,
                     text.substr(0, 12));
  array.kind = type[2];
  array.size = static_cast<size_t>(type[3] - '0');
  return order == '>';
}

/// Brings elements that lie with the first side as the fastest (Fortran's order) into C's order.
void to_c_order(Array& array) {
  std::vector<size_t> strides;  // of the sides, in bytes of what was read
  size_t stride = array.size;
  for (const int64_t side : array.shape) {
    strides.push_back(stride);
    stride *= static_cast<size_t>(side);
  }
  std::vector<uint8_t> ordered;
  ordered.reserve(array.bytes.size());
  std::vector<int64_t> place(array.shape.size());
  while (ordered.size() < array.bytes.size()) {
    size_t from = 0;
    for (size_t d = 0; d < place.size(); ++d) from += static_cast<size_t>(place[d]) * strides[d];
    ordered.insert(ordered.end(), array.bytes.begin() + static_cast<ptrdiff_t>(from),
                   array.bytes.begin() + static_cast<ptrdiff_t>(from + array.size));
    for (size_t d = place.size(); d-- > 0 && ++place[d] == array.shape[d];) place[d] = 0;
  }
  array.bytes = std::move(ordered);
}

}  // namespace

int64_t Array::elements() const {
  int64_t all = 1;
  for (const int64_t side : shape) all *= side;
  return all;
}

int64_t Array::whole(size_t index) const {
  const uint8_t* from = bytes.data() + index * size;
  uint64_t bits = 0;
  for (size_t i = size; i-- > 0;) bits = bits << 8 | from[i];
  if (kind == 'u' || kind == 'b') return static_cast<int64_t>(std::min<uint64_t>(bits, INT64_MAX));
  if (kind != 'i') throw Error("an array of {} holds no whole numbers", type());
  const size_t unused = 64 - 8 * size;
  return static_cast<int64_t>(bits << unused) >> unused;
}

float Array::value(size_t index) const {
  const uint8_t* from = bytes.data() + index * size;
  if (kind == 'u' && size == 1) return static_cast<float>(*from) / 255.0F;
  if (kind == 'f' && size == 4) {
    float value = 0;
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  if (kind != 'f' || size != 8) throw Error("an array of {} as an image", type());
  double value = 0;
  std::memcpy(&value, from, sizeof value);
  return static_cast<float>(value);
}

Array parse_npy(std::vector<uint8_t> bytes, const std::string& file) {
  constexpr std::string_view magic = "\x93NUMPY";
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.size() < 12 || !text.starts_with(magic))
    throw InputError("{}: byte 0: no .npy file ({} bytes), expected \\x93NUMPY", file, text.size());
  const int version = bytes[6];
  if (version < 1 || version > 3) throw InputError("{}: byte 6: version {}, expected 1 to 3", file, version);
  const size_t begin = version == 1 ? 10 : 12;
  size_t length = bytes[8] | size_t{bytes[9]} << 8;
  if (version > 1) length |= size_t{bytes[10]} << 16 | size_t{bytes[11]} << 24;
  if (length > text.size() - begin)
    throw InputError("{}: byte {}: the file ends within its header of {} bytes", file, text.size(), length);
  const std::string_view header = text.substr(begin, length);
  const std::string where = file + ": byte " + std::to_string(begin);

  Array array;
  array.where = file;
  const bool big_endian = parse_type(entry(header, "'descr'"), array, where);
  array.shape = parse_shape(entry(header, "'shape'"), where);
  const std::string_view order = entry(header, "'fortran_order'");
  if (!order.starts_with("False") && !order.starts_with("True"))
    throw InputError("{}: fortran_order {}, expected False or True", where, order.substr(0, order.find(',')));
  const bool first_side_first = order.starts_with("True") && array.shape.size() > 1;  // the header goes below
  const size_t data = begin + length;
  const uint64_t expected = static_cast<uint64_t>(array.elements()) * array.size;
  if (bytes.size() - data != expected)
    throw InputError("{}: byte {}: {} bytes of data, expected {} for its shape and type", file, data,
                     bytes.size() - data, expected);
  bytes.erase(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(data));
  array.bytes = std::move(bytes);
  if (big_endian)
    for (auto at = array.bytes.begin(); at != array.bytes.end(); at += static_cast<ptrdiff_t>(array.size))
      std::reverse(at, at + static_cast<ptrdiff_t>(array.size));
  if (first_side_first) to_c_order(array);
  return array;
}

}  // namespace lockstep
