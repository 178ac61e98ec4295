// What a program does at points of a fit, as Keras' callbacks do. All callbacks are called on rank 0's thread alone, in
// the order in which they were given; what they decide through their Training holds on every rank from the same step
// on. So a callback needs no locks, may keep state and write files, and cannot make ranks differ. What it throws ends
// all ranks.
#pragma once

#include <functional>
#include <memory>

#include "launch/train/report.h"
#include "launch/train/state.h"
#include "layers/network/network.h"

namespace lockstep {

/// All that training changes, of the network's logical variables: the same for every number of ranks and strategy.
struct Snapshot {
  Weights weights;
  std::vector<Weights> slots;  // the optimizer's variables, one map a slot
  LossScale loss_scale;
  float lr = 0;       // see Training::lr
  int64_t steps = 0;  // done since compile
};

/// A fit, as callbacks see it and act on it. What acts throws Error where the callback has not said that it acts there
/// (see Callback::acts).
class Training {
 public:
  virtual ~Training() = default;
  virtual const Network& network() const = 0;
  virtual int ranks() const = 0;
  /// Whether epochs of this fit end with a validation.
  virtual bool validates() const = 0;
  /// At the end of a fit: whether it was interrupted (see FitOptions::stop_requested), and another goes on with it.
  virtual bool interrupted() const = 0;
  /// The full learning rate, which the schedule scales step by step; Report::lr is what a step had of it.
  virtual float lr() const = 0;

  /// Acts: from the next step that has not started on, in later fits too. Throws InputError for no number above 0.
  virtual void set_lr(float lr) = 0;
  /// Acts: no further step is started. Those under way, which there may be on a device, are finished and reported; then
  /// the epoch ends as any other.
  virtual void stop() = 0;
  /// Acts: waits for steps that are under way, and takes what they have left. So at the begin of a step it is what the
  /// steps before it left, and at the end of an epoch what that epoch left; only at the end of a step the next one may
  /// have changed it already.
  virtual Weights weights() = 0;
  virtual Snapshot snapshot() = 0;
  /// Acts: after the steps that are under way. Throws InputError that names a variable that is missing, unknown or of
  /// another size.
  virtual void set_weights(const Weights& weights) = 0;
};

class Callback {
 public:
  /// Where a callback may call what acts. Other ranks learn of it there, which takes a message a point; and where it is
  /// at the end of an epoch, the next epoch's first step starts only after it.
  enum class Acts { never, on_epochs, on_steps };

  Callback() = default;
  Callback(const Callback&) = delete;
  Callback& operator=(const Callback&) = delete;
  virtual ~Callback() = default;

  virtual Acts acts() const { return Acts::on_steps; }

  /// What finds its state again: the n-th callback of a name has that of the n-th of this name before.
  virtual std::string name() const { return "callback"; }
  /// Where it changes what is trained: by which options, as text. A fit goes on only with callbacks that have the same.
  virtual std::string decides_by() const { return {}; }
  /// What it must know again where a fit is interrupted and goes on. Taken between steps.
  virtual CallbackState state() const { return {}; }
  /// Behind on_train_begin of a fit that goes on, what `state` gave; only where that was something.
  virtual void restore(const CallbackState& state) { static_cast<void>(state); }

  /// The points of `on_epochs`. At an epoch's end its report holds the epoch's means and its validation.
  virtual void on_train_begin(Training& training) { static_cast<void>(training); }
  virtual void on_train_end(Training& training) { static_cast<void>(training); }
  virtual void on_epoch_begin(Training& training, const Report& report) { ignore(training, report); }
  virtual void on_epoch_end(Training& training, const Report& report) { ignore(training, report); }
  /// Keras' on_train_batch_begin and on_train_batch_end. A report of what begins has its numbers, and no results.
  virtual void on_step_begin(Training& training, const Report& report) { ignore(training, report); }
  virtual void on_step_end(Training& training, const Report& report) { ignore(training, report); }
  /// Keras' on_test_batch_end, of the validation at an epoch's end: `done` of its `steps` are done. Nothing may act
  /// here.
  virtual void on_validation_step(Training& training, const Report& report, int64_t done, int64_t steps) {
    ignore(training, report);
    static_cast<void>(done + steps);
  }

 private:
  static void ignore(const Training&, const Report&) {}
};

using Callbacks = std::vector<std::shared_ptr<Callback>>;

/// What TrainingState::callbacks holds of them.
CallbackStates states_of(const Callbacks& callbacks);
/// Gives each what it has there.
void restore_states(const Callbacks& callbacks, const CallbackStates& states);

/// What LambdaCallback calls; those that are empty are skipped.
struct LambdaOptions {
  std::function<void(Training&)> on_train_begin = {}, on_train_end = {};
  std::function<void(Training&, const Report&)> on_epoch_begin = {}, on_epoch_end = {}, on_step_begin = {},
                                                on_step_end = {};
  std::function<void(Training&, const Report&, int64_t, int64_t)> on_validation_step = {};
  Callback::Acts acts = Callback::Acts::on_steps;
};

/// Functions as a callback.
class LambdaCallback final : public Callback {
 public:
  explicit LambdaCallback(LambdaOptions options) : options_(std::move(options)) {}
  Acts acts() const override { return options_.acts; }
  void on_train_begin(Training& training) override { call(options_.on_train_begin, training); }
  void on_train_end(Training& training) override { call(options_.on_train_end, training); }
  void on_epoch_begin(Training& t, const Report& r) override { call(options_.on_epoch_begin, t, r); }
  void on_epoch_end(Training& t, const Report& r) override { call(options_.on_epoch_end, t, r); }
  void on_step_begin(Training& t, const Report& r) override { call(options_.on_step_begin, t, r); }
  void on_step_end(Training& t, const Report& r) override { call(options_.on_step_end, t, r); }
  void on_validation_step(Training& t, const Report& r, int64_t done, int64_t steps) override {
    call(options_.on_validation_step, t, r, done, steps);
  }

 private:
  template <class Function, class... Args>
  static void call(const Function& function, Args&... args) {
    if (function) function(args...);
  }

  LambdaOptions options_;
};

/// LambdaCallback as FitOptions::callbacks takes it.
inline std::shared_ptr<Callback> lambda_callback(LambdaOptions options) {
  return std::make_shared<LambdaCallback>(std::move(options));
}

}  // namespace lockstep
