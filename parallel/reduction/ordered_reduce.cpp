#include "parallel/reduction/ordered_reduce.h"

#include <algorithm>
#include <vector>

#include "core/graph/placement.h"
#include "core/plan/memory.h"

namespace lockstep {

namespace {

/// Up to here the messages cost more than the bytes.
constexpr size_t short_bytes = size_t{16} << 10;

/// What each member makes the sum of.
struct Layout {
  Layout(int members, DType dtype, size_t n)
      : members(members), size(size_of(dtype)), bytes(static_cast<int64_t>(n * size)), whole(n * size <= short_bytes) {}
  /// Bytes. Whole vectors of 16; what is left lies with the last.
  Interval part(int member) const {
    if (whole) return {0, bytes};
    const int64_t blocks = (bytes + 15) / 16;
    return {member * blocks / members * 16, std::min((member + 1) * blocks / members * 16, bytes)};
  }
  /// Bytes of scratch memory for one part.
  size_t room() const {
    const int64_t blocks = (bytes + 15) / 16;
    return aligned(static_cast<size_t>(whole ? bytes : (blocks + members - 1) / members * 16));
  }

  int members;
  size_t size;
  int64_t bytes;
  bool whole;
};

}  // namespace

size_t ordered_scratch(int members, DType dtype, size_t n) {
  // Short sums travel whole, and may take more than longer ones.
  const size_t shorter = std::min(n, short_bytes / size_of(dtype));
  return static_cast<size_t>(members) *
         std::max(Layout(members, dtype, n).room(), Layout(members, dtype, shorter).room());
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
      bytes += static_cast<size_t>(layout.part(peer).size());
      if (!layout.whole) bytes += static_cast<size_t>(layout.part(member).size());
    }
  return bytes;
}

void ordered_all_reduce(Communicator& comm, DType dtype, std::byte* data, size_t n, std::byte* scratch,
                        Stream& stream) {
  const int members = comm.size(), me = comm.rank();
  if (members == 1 || n == 0) return;
  const Layout layout(members, dtype, n);
  const auto part = [&](int member) { return layout.part(member); };
  const auto bytes = [&](int member) { return static_cast<size_t>(part(member).size()); };
  const auto received = [&](int member) { return scratch + static_cast<size_t>(member) * layout.room(); };
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
