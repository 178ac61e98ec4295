#include "launch/train/shared_training.h"

#include <algorithm>
#include <cmath>

#include "core/cpu/streams.h"
#include "core/error.h"

namespace lockstep {

namespace {

void broadcast(Communicator& comm, void* data, size_t bytes) {
  InlineStream now;
  comm.broadcast(static_cast<std::byte*>(data), bytes, 0, now);
}

}  // namespace

SharedTraining::SharedTraining(const Network& network, Trainer& trainer, Communicator& host, const Callbacks& callbacks,
                               float lr, bool validates, int64_t first_step)
    : network_(network),
      trainer_(trainer),
      host_(host),
      callbacks_(callbacks),
      lr_(lr),
      validates_(validates),
      steps_(first_step) {
  for (const auto& callback : callbacks) most_ = std::max(most_, callback->acts());
}

void SharedTraining::call(Callback::Acts level, const std::function<void(Callback&)>& point) {
  const bool together = acts(level);
  if (host_.rank() != 0) {
    if (together) follow();
    return;
  }
  for (const auto& callback : callbacks_) {
    may_act_ = callback->acts() >= level;
    point(*callback);
  }
  may_act_ = false;
  if (together) send(Order::go_on);
}

void SharedTraining::show(const std::function<void(Callback&)>& point) {
  if (host_.rank() != 0) return;
  for (const auto& callback : callbacks_) point(*callback);
}

void SharedTraining::send(Order order) {
  Packet packet{.order = order, .stopped = stopped_, .lr = lr_};
  broadcast(host_, &packet, sizeof packet);
}

void SharedTraining::follow() {
  for (;;) {
    Packet packet;
    broadcast(host_, &packet, sizeof packet);
    switch (packet.order) {
      case Order::go_on:
        stopped_ = packet.stopped != 0;
        lr_ = packet.lr;
        return;
      case Order::weights:
        take_weights();
        break;
      case Order::snapshot:
        take_snapshot();
        break;
      case Order::set_weights:
        put_weights({});
        break;
    }
  }
}

void SharedTraining::expect_may_act(const char* what) const {
  if (!may_act_) throw Error("a callback called {} at a point where its acts() says that it does not act", what);
}

void SharedTraining::set_lr(float lr) {
  expect_may_act("set_lr");
  if (!(lr > 0) || !std::isfinite(lr)) throw InputError("the learning rate is {}, expected a number above 0", lr);
  lr_ = lr;
}

void SharedTraining::stop() {
  expect_may_act("stop");
  stopped_ = true;
}

Weights SharedTraining::weights() {
  expect_may_act("weights");
  send(Order::weights);
  return take_weights();
}

Snapshot SharedTraining::snapshot() {
  expect_may_act("snapshot");
  send(Order::snapshot);
  return take_snapshot();
}

void SharedTraining::set_weights(const Weights& weights) {
  expect_may_act("set_weights");
  // Looked at before the others are told: they cannot refuse what they do not see.
  check_weights(network_.variables(), weights);
  send(Order::set_weights);
  put_weights(weights);
}

Weights SharedTraining::take_weights() {
  trainer_.synchronize();
  return trainer_.variables().get(host_.rank() == 0);
}

Snapshot SharedTraining::take_snapshot() {
  Weights weights = take_weights();
  return {.weights = std::move(weights),
          .slots = trainer_.variables().get_slots(host_.rank() == 0),
          .loss_scale = trainer_.variables().loss_scale(),
          .lr = lr_,
          .steps = steps_};
}

void SharedTraining::put_weights(const Weights& weights) {
  trainer_.synchronize();
  Weights all = weights;
  for (const Variable& variable : network_.variables()) {
    std::vector<float>& values = all[variable.name];
    values.resize(static_cast<size_t>(variable.shape.elements()));
    broadcast(host_, values.data(), values.size() * sizeof(float));
  }
  trainer_.set_weights(all);
}

}  // namespace lockstep
