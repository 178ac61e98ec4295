#include "parallel/ordered_reduce.h"

#include <algorithm>
#include <vector>

#include "core/placement.h"

namespace lockstep {

namespace {

/// Up to here the messages cost more than the bytes.
constexpr size_t short_bytes = size_t{16} << 10;

struct Layout {
  Layout(int members, DType dtype, size_t n) : size(size_of(dtype)), whole(n * size <= short_bytes) {
    // Whole vectors of 16 bytes; what is left lies with the last.
    const auto blocks = static_cast<int64_t>((n * size + 15) / 16);
    for (const Interval& part :
         whole ? Slices(static_cast<size_t>(members), Interval{0, blocks}) : even_slices(blocks, members))
      parts.push_back({part.begin * 16, std::min(part.end * 16, static_cast<int64_t>(n * size))});
    for (const Interval& part : parts)
      largest = std::max(largest, (static_cast<size_t>(part.size()) + 255) / 256 * 256);
  }
  size_t size;
  bool whole;
  std::vector<Interval> parts;  // bytes of which each member makes the sum
  size_t largest = 0;
};

}  // namespace

size_t ordered_scratch(int members, DType dtype, size_t n) {
  // Short sums travel whole, and may take more than longer ones.
  const size_t shorter = std::min(n, short_bytes / size_of(dtype));
  return static_cast<size_t>(members) *
         std::max(Layout(members, dtype, n).largest, Layout(members, dtype, shorter).largest);
}

size_t ordered_exchanges(int members, DType dtype, size_t n) {
  return members == 1 ? 0 : Layout(members, dtype, n).whole ? 1 : 2;
}

size_t ordered_sent(int members, int member, DType dtype, size_t n) {
  if (members == 1) return 0;
  const Layout layout(members, dtype, n);
  size_t bytes = 0;
  for (int peer = 0; peer < members; ++peer)
    if (peer != member) {
      bytes += static_cast<size_t>(layout.parts[static_cast<size_t>(peer)].size());
      if (!layout.whole) bytes += static_cast<size_t>(layout.parts[static_cast<size_t>(member)].size());
    }
  return bytes;
}

void ordered_all_reduce(Communicator& comm, DType dtype, std::byte* data, size_t n, std::byte* scratch,
                        Stream& stream) {
  const int members = comm.size(), me = comm.rank();
  if (members == 1 || n == 0) return;
  const Layout layout(members, dtype, n);
  const auto part = [&](int member) { return layout.parts[static_cast<size_t>(member)]; };
  const auto bytes = [&](int member) { return static_cast<size_t>(part(member).size()); };
  const auto received = [&](int member) { return scratch + static_cast<size_t>(member) * layout.largest; };
  std::byte* const mine = data + part(me).begin;
  std::vector<Message> messages;
  for (int peer = 0; peer < members; ++peer)
    if (peer != me) messages.push_back({peer, data + part(peer).begin, bytes(peer), received(peer), bytes(me)});
  stream.copy(received(me), mine, bytes(me));
  comm.exchange(messages, stream);
  stream.copy(mine, received(0), bytes(me));
  for (int member = 1; member < members; ++member)
    stream.accumulate_rows(dtype, mine, bytes(me), received(member), bytes(me) / layout.size, 1);
  if (layout.whole) return;
  messages.clear();
  for (int peer = 0; peer < members; ++peer)
    if (peer != me) messages.push_back({peer, mine, bytes(me), data + part(peer).begin, bytes(peer)});
  comm.exchange(messages, stream);
}

}  // namespace lockstep
