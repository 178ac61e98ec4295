#include "parallel/comm/handover.h"

#include <cstring>

namespace lockstep {
namespace {

/// In place, as all_gather may be called, there is nothing to move, and others may be reading.
bool in_place(const Message& message, const std::byte* post, Arrival arrival) {
  return arrival == Arrival::replaces && message.receive == post;
}

}  // namespace

std::unique_ptr<Event> EventPool::take(Stream& stream) {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      auto event = std::move(idle_.back());
      idle_.pop_back();
      return event;
    }
  }
  return stream.event();
}

void EventPool::give_back(std::unique_ptr<Event> event) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(event));
}

std::unique_ptr<Event> HostHandover::take(const Message& message, const std::byte* post, Event*, Arrival arrival) {
  if (in_place(message, post, arrival)) return nullptr;
  if (arrival == Arrival::replaces) {
    std::memmove(message.receive, post, message.receive_bytes);
    return nullptr;
  }
  auto* to = reinterpret_cast<float*>(message.receive);
  const auto* from = reinterpret_cast<const float*>(post);
  for (size_t i = 0; i < message.receive_bytes / sizeof(float); ++i) to[i] += from[i];
  return nullptr;
}

std::unique_ptr<Event> StreamHandover::take(const Message& message, const std::byte* post, Event* ready,
                                            Arrival arrival) {
  if (ready) stream_.wait(*ready);
  if (in_place(message, post, arrival)) return nullptr;
  if (arrival == Arrival::replaces)
    stream_.copy(message.receive, post, message.receive_bytes);
  else
    stream_.accumulate(reinterpret_cast<float*>(message.receive), reinterpret_cast<const float*>(post),
                       message.receive_bytes / sizeof(float));
  // Without `ready` the rank sends to itself: its stream is in order anyway.
  return ready ? mark() : nullptr;
}

std::unique_ptr<Event> StreamHandover::mark() {
  auto event = pool_.take(stream_);
  stream_.record(*event);
  return event;
}

}  // namespace lockstep
