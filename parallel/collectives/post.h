// What passes between the stages of a pipeline. Used by the rank's own thread.
#pragma once

#include <map>
#include <memory>

#include "parallel/mesh/mesh_op.h"

namespace lockstep {

/// A rank's sends to other stages and receives from them.
class Post {
 public:
  explicit Post(const MeshContext& context)
      : activations_(context.mesh.along(context.mesh.strategy().stage_axis())),
        gradients_(context.mesh.sums_along(context.mesh.strategy().stage_axis())) {}

  void send(Queue queue, const Message& message, Stream& stream) {
    if (auto sending = channel(queue).send(message, stream)) under_way_.emplace(message.send, std::move(sending));
  }
  void receive(Queue queue, const Message& message, Stream& stream) { channel(queue).exchange({&message, 1}, stream); }
  /// All that was sent has left; then `messages` go along the activations.
  void share(std::span<const Message> messages, Stream& stream) {
    for (const auto& [buffer, sending] : under_way_) sending->finish(stream);
    under_way_.clear();
    if (!messages.empty()) activations_.exchange(messages, stream);
  }
  /// Before the buffer is written again.
  void make_room(const std::byte* buffer, Stream& stream) {
    const auto [first, last] = under_way_.equal_range(buffer);
    for (auto sent = first; sent != last; ++sent) sent->second->finish(stream);
    under_way_.erase(first, last);
  }
  int rank() const { return activations_.rank(); }
  int size() const { return activations_.size(); }

 private:
  Communicator& channel(Queue queue) { return queue == Queue::forward ? activations_ : gradients_; }

  Communicator &activations_, &gradients_;
  std::multimap<const std::byte*, std::unique_ptr<Sending>> under_way_;  // by buffer, which several stages may get
};

}  // namespace lockstep
