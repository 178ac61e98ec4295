#include "parallel/pipeline.h"

#include <algorithm>
#include <map>
#include <set>

#include "core/error.h"

namespace lockstep {

namespace {

class Split {
 public:
  Split(PlacedGraph& placed, int stage, int stages, std::span<const Value> everywhere)
      : placed_(placed), stage_(stage), mine_(placed.graph.without_nodes()), readers_(placed.graph.values().size()) {
    for (const Node& node : placed.graph.nodes())
      for (Value v : node.in) readers_[static_cast<size_t>(v.id)].insert(node.section.stage);
    for (Value v : everywhere)
      for (int other = 0; other < stages; ++other) readers_[static_cast<size_t>(v.id)].insert(other);
  }

  void run() {
    for (const Node& node : placed_.graph.nodes()) {
      if (node.section.stage == stage_) mine_.append(node);
      for (Value v : node.out) pass(node, v);
    }
    for (size_t v = 0; v < mine_.values().size(); ++v) {
      const Value value{static_cast<int>(v)};
      if (mine_.info(value).role == Role::LaneInput && mine_.readers(value).empty())
        mine_.set_role(value, Role::Activation);
    }
    placed_.graph = std::move(mine_);
  }

 private:
  void pass(const Node& node, Value v) {
    const int from = node.section.stage;
    Value copy;
    for (const int to : readers_[static_cast<size_t>(v.id)]) {
      if (to == from || (from != stage_ && to != stage_)) continue;
      const Queue queue = to > from ? Queue::Forward : Queue::Backward;
      const std::string name = placed_.graph.info(v).name;
      if (to == stage_) {
        mine_.append({fmt::format("{}/from stage {}", name, from),
                      std::make_shared<ReceiveOp>(from, queue, placed_.graph.type(v)),
                      {},
                      {v},
                      {stage_, node.section.phase}});
        continue;
      }
      mine_.set_section(node.section);
      if (!copy) {
        copy = mine_.add1(name + "/hand_over", std::make_shared<HandOverOp>(), {v});
        const auto id = static_cast<size_t>(v.id);
        placed_.local.push_back(Type(placed_.local[id]));
        placed_.placement.push_back(Placements(placed_.placement[id]));
        placed_.slices.push_back(std::vector<Slices>(placed_.slices[id]));
      }
      mine_.add(fmt::format("{}/to stage {}", name, to), std::make_shared<SendOp>(to, queue), {copy});
    }
    mine_.set_section({});
  }

  PlacedGraph& placed_;
  int stage_;
  Graph mine_;
  std::vector<std::set<int>> readers_;  // by value: stages
};

/// A rank's sends to other stages and receives from them.
class Post {
 public:
  explicit Post(const Mesh& mesh)
      : activations_(mesh.along(mesh.strategy().stage_axis())),
        gradients_(mesh.sums_along(mesh.strategy().stage_axis())) {}

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
  /// Before the buffer is written anew.
  void make_room(const std::byte* buffer, Stream& stream) {
    const auto [first, last] = under_way_.equal_range(buffer);
    for (auto sent = first; sent != last; ++sent) sent->second->finish(stream);
    under_way_.erase(first, last);
  }
  int rank() const { return activations_.rank(); }
  int size() const { return activations_.size(); }

 private:
  Communicator& channel(Queue queue) { return queue == Queue::Forward ? activations_ : gradients_; }

  Communicator &activations_, &gradients_;
  std::multimap<const std::byte*, std::unique_ptr<Sending>> under_way_;  // by buffer, which several stages may get
};

}  // namespace

void split_stages(PlacedGraph& placed, int stage, int stages, std::span<const Value> everywhere) {
  Split(placed, stage, stages, everywhere).run();
}

void add_pipeline_kernels(KernelTable& kernels, const Mesh& mesh) {
  const auto post = std::make_shared<Post>(mesh);
  kernels.add<HandOverOp>([post](const HandOverOp&, const Signature& signature) {
    return Kernel{.run =
                      [post, bytes = signature.in[0].bytes()](Stream& stream, const Args& args) {
                        post->make_room(args.out[0].data, stream);
                        stream.copy(args.out[0].data, args.in[0].data, bytes);
                      },
                  .capturable = false};
  });
  kernels.add<SendOp>([post](const SendOp& op, const Signature& signature) {
    return Kernel{.run =
                      [post, queue = op.queue(), peer = op.stage, bytes = signature.in[0].bytes()](Stream& stream,
                                                                                                   const Args& args) {
                        post->send(queue, {.peer = peer, .send = args.in[0].data, .send_bytes = bytes}, stream);
                      },
                  .capturable = false};
  });
  kernels.add<ReceiveOp>([post](const ReceiveOp& op, const Signature& signature) {
    return Kernel{.run =
                      [post, queue = op.queue(), peer = op.stage, bytes = signature.out[0].bytes()](Stream& stream,
                                                                                                    const Args& args) {
                        post->receive(queue, {.peer = peer, .receive = args.out[0].data, .receive_bytes = bytes},
                                      stream);
                      },
                  .capturable = false};
  });
  kernels.add<ShareOp>([post](const ShareOp& op, const Signature& signature) {
    return Kernel{.run =
                      [post, root = op.stage, types = signature.out](Stream& stream, const Args& args) {
                        std::vector<Message> messages;
                        for (size_t k = 0; k < types.size(); ++k) {
                          std::byte* const data = args.out[k].data;
                          if (post->rank() != root) {
                            messages.push_back({.peer = root, .receive = data, .receive_bytes = types[k].bytes()});
                            continue;
                          }
                          stream.copy(data, args.in[k].data, types[k].bytes());
                          for (int peer = 0; peer < post->size(); ++peer)
                            if (peer != root)
                              messages.push_back({.peer = peer, .send = data, .send_bytes = types[k].bytes()});
                        }
                        post->share(messages, stream);
                      },
                  .capturable = false};
  });
}

}  // namespace lockstep
