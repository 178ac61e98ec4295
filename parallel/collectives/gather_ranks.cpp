#include "parallel/collectives/gather_ranks.h"

namespace lockstep {

Kernel GatherRanksOp::make(const Signature& signature, MeshContext& context) const {
  Communicator& comm = context.mesh.along(axis);
  return {.run =
              [&comm, bytes = signature.in[0].bytes(), order = order](Stream& stream, const Args& args) {
                std::vector<Message> messages;
                for (size_t place = 0; place < order.size(); ++place) {
                  std::byte* const to = args.out[0].data + place * bytes;
                  if (order[place] == comm.rank())
                    stream.copy(to, args.in[0].data, bytes);
                  else
                    messages.push_back({order[place], args.in[0].data, bytes, to, bytes});
                }
                comm.exchange(messages, stream);
              },
          .capturable = comm.capturable()};
}

std::optional<Traffic> GatherRanksOp::traffic(const Signature& signature, const Mesh&, Numerics) const {
  return Traffic{what, {static_cast<int>(axis)}, signature.in[0].bytes() * (order.size() - 1), 1};
}

}  // namespace lockstep
