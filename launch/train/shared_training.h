// A fit's callbacks, called on rank 0, and what they decide, carried out by all ranks together. Used by each rank's own
// thread; all ranks make the same calls.
#pragma once

#include "launch/train/callback.h"
#include "launch/train/trainer.h"

namespace lockstep {

class SharedTraining final : public Training {
 public:
  /// All must outlive it; `host` is for host memory.
  SharedTraining(const Network& network, Trainer& trainer, Communicator& host, const Callbacks& callbacks, float lr,
                 bool validates, int64_t first_step);

  /// Calls a point of `level` of each callback on rank 0, and returns on all ranks when what was decided holds. Where a
  /// callback throws, rank 0 does, and with it the run ends.
  void call(Callback::Acts level, const std::function<void(Callback&)>& point);
  /// Calls a point of each callback on rank 0 where none may act, and no other rank waits.
  void show(const std::function<void(Callback&)>& point);
  /// Whether a callback may act at points of `level`.
  bool acts(Callback::Acts level) const { return most_ >= level; }
  bool stopped() const { return stopped_; }
  void interrupt() { interrupted_ = true; }
  /// A step was started.
  void started() { ++steps_; }

  const Network& network() const override { return network_; }
  int ranks() const override { return host_.size(); }
  bool validates() const override { return validates_; }
  bool interrupted() const override { return interrupted_; }
  float lr() const override { return lr_; }
  void set_lr(float lr) override;
  void stop() override;
  Weights weights() override;
  Snapshot snapshot() override;
  void set_weights(const Weights& weights) override;

 private:
  /// What rank 0 tells the others, which wait for it at points where a callback may act.
  enum class Order { go_on, weights, snapshot, set_weights };
  /// An order as it travels, with all that callbacks have decided.
  struct Packet {
    Order order = Order::go_on;
    int stopped = 0;
    float lr = 0;
  };
  void expect_may_act(const char* what) const;
  void send(Order order);
  void follow();

  // What all ranks do at an order.
  Weights take_weights();
  Snapshot take_snapshot();
  void put_weights(const Weights& weights);

  const Network& network_;
  Trainer& trainer_;
  Communicator& host_;
  const Callbacks& callbacks_;
  Callback::Acts most_ = Callback::Acts::never;
  float lr_;
  bool validates_, stopped_ = false, interrupted_ = false;
  bool may_act_ = false;  // the callback that is being called
  int64_t steps_;
};

}  // namespace lockstep
