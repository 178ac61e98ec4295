#include "parallel/comm/mailbox.h"

#include <algorithm>
#include <cstring>
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

void Mailboxes::exchange(int me, std::span<const Message> messages) {
  std::vector<Post> posts;
  posts.reserve(messages.size());  // boxes keep pointers to its elements
  std::unique_lock lock(fabric_->mutex);
  try {
    if (fabric_->aborted) throw Error("{}", *fabric_->aborted);
    for (const Message& message : messages) {
      if (message.send_bytes == 0) continue;
      posts.push_back({message.send, message.send_bytes, me});
      box(me, message.peer).push_back(&posts.back());
      wake(message.peer).notify_all();
    }
    for (const Message& message : messages) {
      if (message.receive_bytes != 0) take(me, message, lock);
    }
    await(lock, wake(me), [&] {
      return fabric_->aborted || std::ranges::all_of(posts, [](const Post& post) { return post.state == Post::done; });
    });
    if (fabric_->aborted) throw Error("{}", *fabric_->aborted);
  } catch (...) {
    withdraw(me, messages, posts, lock);
    throw;
  }
}

void Mailboxes::take(int me, const Message& message, std::unique_lock<std::mutex>& lock) {
  auto& incoming = box(message.peer, me);
  await(lock, wake(me), [&] { return fabric_->aborted || !incoming.empty(); });
  if (fabric_->aborted) throw Error("{}", *fabric_->aborted);
  Post& post = *incoming.front();
  if (post.bytes != message.receive_bytes) {
    throw Error("rank {} expected {} bytes from rank {}, which sent {}", me, message.receive_bytes, message.peer,
                post.bytes);
  }
  incoming.pop_front();
  post.state = Post::being_copied;
  lock.unlock();
  // In place, as all_gather may be called, there is nothing to move, and others may be reading.
  if (message.receive != post.data) std::memmove(message.receive, post.data, post.bytes);
  lock.lock();
  post.state = Post::done;
  wake(message.peer).notify_all();
}

void Mailboxes::withdraw(int me, std::span<const Message> messages, std::vector<Post>& posts,
                         std::unique_lock<std::mutex>& lock) {
  for (const Message& message : messages) {
    std::erase_if(box(me, message.peer), [&](const Post* post) {
      return std::ranges::any_of(posts, [&](const Post& mine) { return &mine == post; });
    });
  }
  // A peer may be copying: the caller must not free the buffer before that ends.
  await(lock, wake(me),
        [&] { return std::ranges::none_of(posts, [](const Post& post) { return post.state == Post::being_copied; }); });
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
