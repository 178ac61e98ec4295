#include "parallel/collectives/share.h"

#include "parallel/collectives/post.h"

namespace lockstep {

Kernel ShareOp::make(const Signature& signature, MeshContext& context) const {
  return {.run =
              [post = context.shared<Post>(), root = stage, types = signature.out](Stream& stream, const Args& args) {
                std::vector<Message> messages;
                for (size_t k = 0; k < types.size(); ++k) {
                  std::byte* const data = args.out[k].data;
                  if (post->rank() != root) {
                    messages.push_back({.peer = root, .receive = data, .receive_bytes = types[k].bytes()});
                    continue;
                  }
                  stream.copy(data, args.in[k].data, types[k].bytes());
                  for (int peer = 0; peer < post->size(); ++peer)
                    if (peer != root) messages.push_back({.peer = peer, .send = data, .send_bytes = types[k].bytes()});
                }
                post->share(messages, stream);
              },
          .capturable = false};
}

std::optional<Traffic> ShareOp::traffic(const Signature&, const Mesh& mesh, Numerics) const {
  if (types.empty()) return std::nullopt;
  size_t bytes = 0;
  for (const Type& type : types) bytes += type.bytes();
  const bool sends = mesh.stage() == stage;
  return Traffic{"results",
                 {static_cast<int>(mesh.strategy().stage_axis())},
                 sends ? bytes * static_cast<size_t>(mesh.strategy().stages() - 1) : 0,
                 1};
}

}  // namespace lockstep
