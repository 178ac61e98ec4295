#include "parallel/comm/mailbox.h"

#include <algorithm>
#include <exception>
#include <numeric>

#include "core/cpu/await.h"
#include "core/error.h"

namespace lockstep {

Mailboxes::Mailboxes(int members)
    : Mailboxes(std::make_shared<Fabric>(members), [members] {
        std::vector<int> all(static_cast<size_t>(members));
        std::iota(all.begin(), all.end(), 0);
        return all;
      }()) {}

Mailboxes::Mailboxes(std::shared_ptr<Fabric> fabric, std::vector<int> members)
    : fabric_(std::move(fabric)), members_(std::move(members)), boxes_(members_.size() * members_.size()) {}

void Mailboxes::exchange(int me, std::span<const Message> messages, Arrival arrival) {
  HostHandover way;
  exchange(me, messages, arrival, way);
}

void Mailboxes::exchange(int me, std::span<const Message> messages, Arrival arrival, Stream& stream) {
  StreamHandover way(stream, fabric_->events[rank_of(me)]);
  exchange(me, messages, arrival, way);
}

void Mailboxes::exchange(int me, std::span<const Message> messages, Arrival arrival, Handover& way) {
  std::vector<Post> posts;
  posts.reserve(messages.size());  // boxes keep pointers to its elements
  std::unique_ptr<Event> ready;
  const auto leaves = [me](const Message& message) { return message.send_bytes != 0 && message.peer != me; };
  if (std::ranges::any_of(messages, leaves)) ready = way.announce();
  std::unique_lock lock(fabric_->mutex);
  try {
    if (fabric_->aborted) throw Error("{}", *fabric_->aborted);
    for (const Message& message : messages) {
      if (message.send_bytes == 0) continue;
      posts.push_back({.data = message.send,
                       .bytes = message.send_bytes,
                       .receiver = message.peer,
                       .ready = message.peer == me ? nullptr : ready.get(),
                       .taken = nullptr});
      box(me, message.peer).push_back(&posts.back());
      wake(message.peer).notify_all();
    }
    for (const Message& message : messages) {
      if (message.receive_bytes != 0) take(me, message, arrival, way, lock);
    }
    await(lock, wake(me), [&] {
      return fabric_->aborted || std::ranges::all_of(posts, [](const Post& post) { return post.state == Post::done; });
    });
    if (fabric_->aborted) throw Error("{}", *fabric_->aborted);
  } catch (...) {
    withdraw(me, posts, lock);
    lock.unlock();
    try {
      finish(posts, way);
    } catch (...) {  // the first error is the one that counts
    }
    throw;
  }
  lock.unlock();
  finish(posts, way);
  if (ready) fabric_->events[rank_of(me)].give_back(std::move(ready));
}

/// What waits in a box while its sender goes on.
class Mailboxes::Sent final : public Sending {
 public:
  Sent(std::shared_ptr<Mailboxes> boxes, int me, const Message& message, Stream& stream)
      : boxes_(std::move(boxes)), me_(me) {
    ready_ = StreamHandover(stream, pool()).announce();
    posts_.push_back({.data = message.send,
                      .bytes = message.send_bytes,
                      .receiver = message.peer,
                      .ready = message.peer == me ? nullptr : ready_.get(),
                      .taken = nullptr});
    const std::lock_guard lock(boxes_->fabric_->mutex);
    if (boxes_->fabric_->aborted) throw Error("{}", *boxes_->fabric_->aborted);
    boxes_->box(me, message.peer).push_back(&posts_.front());
    boxes_->wake(message.peer).notify_all();
  }
  Sent(const Sent&) = delete;
  Sent& operator=(const Sent&) = delete;
  ~Sent() override {
    std::unique_lock lock(boxes_->fabric_->mutex);
    boxes_->withdraw(me_, posts_, lock);
    if (ready_) pool().give_back(std::move(ready_));
  }

  void finish(Stream& stream) override {
    std::unique_lock lock(boxes_->fabric_->mutex);
    await(lock, boxes_->wake(me_), [&] { return boxes_->fabric_->aborted || posts_.front().state == Post::done; });
    if (posts_.front().state != Post::done) throw Error("{}", *boxes_->fabric_->aborted);
    lock.unlock();
    StreamHandover way(stream, pool());
    boxes_->finish(posts_, way);
  }

 private:
  EventPool& pool() { return boxes_->fabric_->events[boxes_->rank_of(me_)]; }

  std::shared_ptr<Mailboxes> boxes_;
  int me_;
  std::unique_ptr<Event> ready_;
  std::vector<Post> posts_;  // one; boxes keep a pointer to it
};

std::unique_ptr<Sending> Mailboxes::send(std::shared_ptr<Mailboxes> boxes, int me, const Message& message,
                                         Stream& stream) {
  return std::make_unique<Sent>(std::move(boxes), me, message, stream);
}

void Mailboxes::take(int me, const Message& message, Arrival arrival, Handover& way,
                     std::unique_lock<std::mutex>& lock) {
  auto& incoming = box(message.peer, me);
  await(lock, wake(me), [&] { return fabric_->aborted || !incoming.empty(); });
  if (fabric_->aborted) throw Error("{}", *fabric_->aborted);
  Post& post = *incoming.front();
  if (post.bytes != message.receive_bytes) {
    throw Error("rank {} expected {} bytes from rank {}, which sent {}", me, message.receive_bytes, message.peer,
                post.bytes);
  }
  incoming.pop_front();
  post.state = Post::being_taken;
  lock.unlock();
  std::unique_ptr<Event> taken;
  std::exception_ptr error;
  try {
    taken = way.take(message, post.data, post.ready, arrival);
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  post.taken = std::move(taken);
  post.state = Post::done;
  wake(message.peer).notify_all();
  if (error) std::rethrow_exception(error);
}

void Mailboxes::finish(std::vector<Post>& posts, Handover& way) {
  for (Post& post : posts) {
    if (!post.taken) continue;
    way.finish(*post.taken);
    fabric_->events[rank_of(post.receiver)].give_back(std::move(post.taken));
  }
}

void Mailboxes::withdraw(int me, std::vector<Post>& posts, std::unique_lock<std::mutex>& lock) {
  for (const Post& post : posts) std::erase(box(me, post.receiver), &post);
  // A peer may be reading: the caller must not free the buffer before that ends.
  await(lock, wake(me),
        [&] { return std::ranges::none_of(posts, [](const Post& post) { return post.state == Post::being_taken; }); });
}

std::shared_ptr<Mailboxes> Mailboxes::split(int sequence, int color, const std::vector<int>& members) {
  std::lock_guard lock(fabric_->mutex);
  const auto [entry, created] = splits_.try_emplace({sequence, color});
  Half& half = entry->second;
  if (created) {
    std::vector<int> ranks;
    for (int member : members) ranks.push_back(members_[static_cast<size_t>(member)]);
    half.boxes.reset(new Mailboxes(fabric_, std::move(ranks)));
  }
  auto boxes = half.boxes;
  if (++half.taken == members.size()) splits_.erase(entry);
  return boxes;
}

void Mailboxes::abort(int me, std::string_view why) noexcept {
  std::lock_guard lock(fabric_->mutex);
  if (fabric_->aborted) return;
  const int rank = members_[static_cast<size_t>(me)];
  try {
    fabric_->aborted = fmt::format("rank {}: {}", rank, why);
  } catch (...) {
    fabric_->aborted.emplace();  // no memory for the message: an empty one still releases everybody
  }
  for (auto& wake : fabric_->wake) wake.notify_all();
}

}  // namespace lockstep
