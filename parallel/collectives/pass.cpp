#include "parallel/collectives/pass.h"

#include "parallel/collectives/post.h"

namespace lockstep {

Kernel HandOverOp::make(const Signature& signature, MeshContext& context) const {
  return {.run =
              [post = context.shared<Post>(), bytes = signature.in[0].bytes()](Stream& stream, const Args& args) {
                post->make_room(args.out[0].data, stream);
                stream.copy(args.out[0].data, args.in[0].data, bytes);
              },
          .capturable = false};
}

Kernel SendOp::make(const Signature& signature, MeshContext& context) const {
  return {.run =
              [post = context.shared<Post>(), queue = queue(), peer = stage, bytes = signature.in[0].bytes()](
                  Stream& stream, const Args& args) {
                post->send(queue, {.peer = peer, .send = args.in[0].data, .send_bytes = bytes}, stream);
              },
          .capturable = false};
}

std::optional<Traffic> SendOp::traffic(const Signature& signature, const Mesh& mesh, Numerics) const {
  return Traffic{std::string(queue() == Queue::forward ? to_later_stage : to_earlier_stage),
                 {static_cast<int>(mesh.strategy().stage_axis())},
                 signature.in[0].bytes(),
                 1};
}

Kernel ReceiveOp::make(const Signature& signature, MeshContext& context) const {
  return {.run =
              [post = context.shared<Post>(), queue = queue(), peer = stage, bytes = signature.out[0].bytes()](
                  Stream& stream, const Args& args) {
                post->receive(queue, {.peer = peer, .receive = args.out[0].data, .receive_bytes = bytes}, stream);
              },
          .capturable = false};
}

}  // namespace lockstep
