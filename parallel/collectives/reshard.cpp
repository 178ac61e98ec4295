#include "parallel/collectives/reshard.h"

#include <algorithm>

#include "core/error.h"
#include "core/plan/memory.h"
#include "parallel/reduction/ordered_reduce.h"

namespace lockstep {

namespace {

using Kind = Placement::Kind;

/// A local tensor as rows that are cut along one dimension.
struct Rows {
  Rows(const Type& type, int dim) : unit(size_of(type.dtype)), size(size_of(type.dtype)) {
    for (int d = 0; d < type.shape.rank(); ++d)
      (d < dim ? rows : unit) *= static_cast<size_t>(d == dim ? 1 : type.shape[d]);
    pitch = unit * static_cast<size_t>(type.shape[dim]);
  }
  size_t bytes(Interval part) const { return rows * row(part); }
  size_t row(Interval part) const { return static_cast<size_t>(part.size()) * unit; }
  size_t offset(Interval part) const { return static_cast<size_t>(part.begin) * unit; }
  bool dense(Interval part) const { return rows == 1 || row(part) == pitch; }

  size_t rows = 1, unit, size, pitch = 0;
};

/// What goes to a member from the input, and what of the output comes from it; intervals of the local tensors.
struct Transfer {
  Interval send, receive;
  size_t send_buffer = 0, receive_buffer = 0;  // offsets in the workspace, where one is needed
};

Interval common(Interval a, Interval b) {
  const Interval both{std::max(a.begin, b.begin), std::min(a.end, b.end)};
  return both.begin < both.end ? both : Interval{};
}

/// `part` counted from where `whole` begins.
Interval within(Interval part, Interval whole) {
  return part.size() ? Interval{part.begin - whole.begin, part.end - whole.begin} : Interval{};
}

/// Everything that moves pieces: all kinds but sums of whole values.
class Move {
 public:
  Move(const ReshardOp& op, const Signature& signature, Communicator& comm)
      : comm_(comm),
        me_(static_cast<size_t>(op.member)),
        adds_(op.from.placement.kind == Kind::partial || op.from.placement.kind == Kind::overlap),
        moves_(!(op.from.placement == replicate)),
        send_(signature.in[0], send_dim(op)),
        receive_(signature.out[0], receive_dim(op)),
        dtype_(signature.out[0].dtype),
        out_bytes_(signature.out[0].bytes()) {
    const int64_t all = signature.in[0].shape[send_dim(op)];
    const size_t members = std::max(op.from.slices.size(), op.to.slices.size());
    const auto have = [&](size_t m) { return op.from.slices.empty() ? Interval{0, all} : op.from.slices[m]; };
    const Interval any{0, INT64_MAX};
    const auto want = [&](size_t m) { return op.to.slices.empty() ? any : op.to.slices[m]; };
    const bool across = send_dim(op) != receive_dim(op);  // the input is whole where the output is cut
    for (size_t m = 0; m < members; ++m) {
      Transfer t;
      if (across) {
        t = {want(m), have(m)};
      } else if (!moves_) {  // everybody has all
        if (m == me_) t = {want(m), {0, want(m).size()}};
      } else {
        t.send = within(common(have(me_), want(m)), have(me_));
        t.receive = within(common(have(m), want(me_)), op.to.slices.empty() ? Interval{0, 0} : want(me_));
      }
      // What stays here is copied at once, unless rows of the one side are not rows of the other.
      const bool packs = m == me_ ? (adds_ && !send_.dense(t.send)) || across : !send_.dense(t.send);
      if (packs) t.send_buffer = take(send_.bytes(t.send));
      if (m != me_ && (adds_ || !receive_.dense(t.receive))) t.receive_buffer = take(receive_.bytes(t.receive));
      transfers_.push_back(t);
    }
    messages_.reserve(members);
  }

  size_t workspace() const { return workspace_; }
  /// Bytes that go to other members.
  size_t sent() const {
    size_t bytes = 0;
    for (size_t m = 0; m < transfers_.size(); ++m)
      if (m != me_ && moves_) bytes += send_.bytes(transfers_[m].send);
    return bytes;
  }

  void run(Stream& stream, const Args& args) {
    const std::byte* const in = args.in[0].data;
    std::byte* const out = args.out[0].data;
    messages_.clear();
    for (size_t m = 0; m < transfers_.size(); ++m) {
      const Transfer& t = transfers_[m];
      const std::byte* from = in + send_.offset(t.send);
      if (t.send_buffer) {
        std::byte* const packed = args.workspace + t.send_buffer - 1;
        stream.copy_rows(packed, send_.row(t.send), from, send_.pitch, send_.row(t.send), send_.rows);
        from = packed;
      }
      if (m == me_ || !moves_ || (t.send.size() == 0 && t.receive.size() == 0)) continue;
      std::byte* const to = t.receive_buffer ? args.workspace + t.receive_buffer - 1 : out + receive_.offset(t.receive);
      messages_.push_back({static_cast<int>(m), from, send_.bytes(t.send), to, receive_.bytes(t.receive)});
    }
    if (!messages_.empty()) comm_.exchange(messages_, stream);
    if (adds_) stream.zero(out, out_bytes_);
    for (size_t m = 0; m < transfers_.size(); ++m) {
      const Transfer& t = transfers_[m];
      if (t.receive.size() == 0) continue;
      std::byte* const to = out + receive_.offset(t.receive);
      const size_t row = receive_.row(t.receive);
      if (adds_) {
        const std::byte* from = args.workspace + (m == me_ ? t.send_buffer : t.receive_buffer) - 1;
        if (m == me_ && !t.send_buffer) from = in + send_.offset(t.send);
        stream.accumulate_rows(dtype_, to, receive_.pitch, from, row / receive_.size, receive_.rows);
      } else if (m == me_ && t.send_buffer) {
        stream.copy_rows(to, receive_.pitch, args.workspace + t.send_buffer - 1, row, row, receive_.rows);
      } else if (m == me_ && to != in + send_.offset(t.send)) {
        stream.copy_rows(to, receive_.pitch, in + send_.offset(t.send), send_.pitch, row, receive_.rows);
      } else if (m != me_ && t.receive_buffer) {
        stream.copy_rows(to, receive_.pitch, args.workspace + t.receive_buffer - 1, row, row, receive_.rows);
      }
    }
  }

 private:
  static int send_dim(const ReshardOp& op) {
    return op.to.placement.kind == Kind::replicate ? op.from.placement.dim : op.to.placement.dim;
  }
  static int receive_dim(const ReshardOp& op) {
    return op.from.placement.dim >= 0 ? op.from.placement.dim : op.to.placement.dim;
  }
  /// A place in the workspace, plus one: 0 is none.
  size_t take(size_t bytes) {
    const size_t at = workspace_ + 1;
    workspace_ += aligned(bytes);
    return bytes ? at : 0;
  }

  Communicator& comm_;
  size_t me_;
  bool adds_, moves_;
  Rows send_, receive_;
  DType dtype_;
  size_t out_bytes_;
  size_t workspace_ = 0;
  std::vector<Transfer> transfers_;
  std::vector<Message> messages_;  // of the lane that runs
};

/// What a reshard is known as.
std::string_view kind_of(const ReshardOp& op) {
  const Kind to = op.to.placement.kind;
  switch (op.from.placement.kind) {
    case Kind::replicate:
      return "slice";
    case Kind::partial:
      return to == Kind::replicate ? "all-reduce" : "reduce-scatter";
    case Kind::overlap:
      return "halo sum";
    default:
      return to == Kind::replicate ? "all-gather" : to == Kind::window ? "halo exchange" : "all-to-all";
  }
}

}  // namespace

std::optional<size_t> ReshardOp::surrounds(const Type& in, const Type& out) const {
  const int dim = to.placement.dim;
  if (from.placement.kind != Kind::shard || to.placement.kind != Kind::window || from.placement.dim != dim) return {};
  const Rows rows(out, dim);
  const Interval have = from.slices[static_cast<size_t>(member)], want = to.slices[static_cast<size_t>(member)];
  if (rows.rows != 1 || have.begin < want.begin || have.end > want.end || Rows(in, dim).unit != rows.unit) return {};
  return rows.offset(within(have, want));
}

Kernel ReshardOp::make(const Signature& signature, MeshContext& context) const {
  Communicator& comm = context.mesh.along(static_cast<size_t>(axis));
  const bool capturable = comm.capturable();
  if (from.placement == partial && to.placement == replicate) {
    const Type type = signature.in[0];
    const auto n = static_cast<size_t>(type.shape.elements());
    return {.workspace = ordered_scratch(comm.size(), type.dtype, n),
            .run =
                [&comm, type, n](Stream& stream, const Args& args) {
                  stream.copy(args.out[0].data, args.in[0].data, type.bytes());
                  ordered_all_reduce(comm, type.dtype, args.out[0].data, n, args.workspace, stream);
                },
            .capturable = capturable};
  }
  const auto move = std::make_shared<Move>(*this, signature, comm);
  return {.workspace = move->workspace(),
          .run = [move](Stream& stream, const Args& args) { move->run(stream, args); },
          .capturable = capturable};
}

std::optional<Traffic> ReshardOp::traffic(const Signature& signature, const Mesh& mesh, Numerics) const {
  if (from.placement == replicate) return std::nullopt;
  Communicator& comm = mesh.along(static_cast<size_t>(axis));
  const size_t bytes = from.placement == partial && to.placement == replicate
                           ? ordered_sent(comm.size(), comm.rank(), signature.in[0].dtype,
                                          static_cast<size_t>(signature.in[0].shape.elements()))
                           : Move(*this, signature, comm).sent();
  return Traffic{std::string(kind_of(*this)), {axis}, bytes, 1};
}

}  // namespace lockstep
