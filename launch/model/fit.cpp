#include "launch/model/fit.h"

#include <algorithm>
#include <chrono>
#include <deque>

#include "core/error.h"
#include "core/log.h"
#include "launch/host/stop.h"
#include "launch/model/fit_saver.h"
#include "launch/train/shared_training.h"

namespace lockstep {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Sums that epochs and evaluations are made of. Doubles of equal floats in equal order: the same on every rank.
class Totals {
 public:
  /// From where an earlier run has left them.
  explicit Totals(const Measures& measures, const EpochSums& so_far = {})
      : measures_(&measures), sums_(measures.floats()) {
    if (so_far.samples == 0) return;
    if (so_far.sums.size() != 1 + sums_.size())
      throw InputError("the epoch so far has {} sums, the metrics make {}: was it measured by others?",
                       so_far.sums.size(), 1 + sums_.size());
    loss_ = so_far.sums[0];
    std::copy(so_far.sums.begin() + 1, so_far.sums.end(), sums_.begin());
    samples_ = so_far.samples;
  }
  void add(const StepResult& result) {
    loss_ += double{result.loss_sum};
    for (size_t i = 0; i < sums_.size(); ++i) sums_[i] += double{result.sums[i]};
    samples_ += result.samples;
  }
  int64_t samples() const { return samples_; }
  EpochSums sums() const {
    EpochSums all{{loss_}, samples_};
    all.sums.insert(all.sums.end(), sums_.begin(), sums_.end());
    return all;
  }
  Evaluation means() const {
    Evaluation means{.loss = loss_ / static_cast<double>(samples_), .samples = samples_};
    means.metrics = measures_->values(sums_, samples_);
    means.accuracy = accuracy_of(means.metrics);
    return means;
  }

 private:
  const Measures* measures_;
  double loss_ = 0;
  std::vector<double> sums_;
  int64_t samples_ = 0;
};

void set_measured(Report& report, Evaluation means) {
  report.loss = static_cast<float>(means.loss);
  report.accuracy = static_cast<float>(means.accuracy);
  report.metrics = std::move(means.metrics);
  // In single precision, as logs keep them.
  for (MetricValue& metric : report.metrics)
    for (double& value : metric.values) value = double{static_cast<float>(value)};
}

/// A step that is under way.
struct Started {
  Report report;
  int64_t samples = 0;
  double waited = 0;  // seconds for its batch, while nothing was computed
  bool ends_epoch = false;
};

/// Turns the results of steps into reports, of steps and of epochs.
class Meter {
 public:
  /// Goes on where a fit stands, of whose last step these are the numbers.
  Meter(const Measures& measures, const FitPosition& position, Report last)
      : measures_(measures), totals_(measures, position.sums), ended_(position.ended), last_(std::move(last)) {}
  Report step(const Started& started, const StepResult& result) {
    last_ = started.report;
    Totals alone(measures_);
    alone.add(result);
    set_measured(last_, alone.means());
    const double seconds = seconds_since(step_start_);
    step_start_ = Clock::now();
    last_.images_per_second = static_cast<double>(started.samples) / seconds;
    last_.data_share = std::min(started.waited / seconds, 1.0);
    totals_.add(result);
    last_.epoch_so_far = totals_.means();
    timed_ += started.samples;
    waited_ += started.waited;
    return last_;
  }
  /// Whether an epoch has steps and was not ended.
  bool open() const { return totals_.samples() > 0; }
  EpochSums sums() const { return totals_.sums(); }
  /// Of the epoch that ended last.
  const EpochSums& ended() const { return ended_; }
  /// The epoch that ended last, with the numbers of its last step.
  Report last_epoch(Report report) const {
    set_measured(report, Totals(measures_, ended_).means());
    return report;
  }
  /// The epoch that ends with the last step.
  Report end_epoch() {
    Report report = last_;
    const double seconds = seconds_since(epoch_start_);
    set_measured(report, totals_.means());
    report.images_per_second = static_cast<double>(timed_) / seconds;
    report.data_share = std::min(waited_ / seconds, 1.0);
    ended_ = totals_.sums();
    totals_ = Totals(measures_);
    timed_ = 0;
    waited_ = 0;
    return report;
  }
  /// What was done since the epoch's end is no part of the next one.
  void begin_epoch() { epoch_start_ = step_start_ = Clock::now(); }

 private:
  Clock::time_point step_start_ = Clock::now(), epoch_start_ = step_start_;
  const Measures& measures_;
  Totals totals_;
  EpochSums ended_;
  int64_t timed_ = 0;  // samples since the epoch began here: an earlier run may have had others
  double waited_ = 0;
  Report last_;
};

class FitLoop {
 public:
  FitLoop(const FitJob& job, RankContext& rank, Trainer& trainer, Device& device)
      : job_(job),
        rank_(rank),
        trainer_(trainer),
        memory_(*device.backend),
        training_(job.network, trainer, rank.comm, job.options.callbacks, job.lr,
                  job.options.validation_data != nullptr, job.first_step),
        feed_(job.data, feeding(rank, device)),
        ahead_(trainer.runs_ahead() ? 1 : 0),
        made_(job.position.steps),
        epochs_ended_(job.position.epochs),
        meter_(trainer.measures(), job.position, numbers(made_ - 1)),
        saver_(job, trainer, rank.comm, computes_with(device)) {
    if (job.options.stop_requested) stop_.emplace(rank.comm, job.options.stop_requested, job.options.stop_within);
  }

  Fitted run() {
    if (meter_.ended().samples > 0)
      fitted_.history.last_before =
          meter_.last_epoch(numbers(std::min(made_, epochs_ended_ * job_.length.steps_per_epoch) - 1));
    training_.call(on_epochs, [&](Callback& c) { c.on_train_begin(training_); });
    if (rank_.comm.rank() == 0) restore_states(job_.options.callbacks, job_.callbacks);
    while (made_ < job_.length.steps && !fitted_.history.interrupted && start_step()) {
      const bool saves = saver_.due(made_, made_ / job_.length.steps_per_epoch, started_.back().ends_epoch);
      finish_steps(saves || must_finish() ? 0 : ahead_);
      if (saves) saver_.save(position(), training_.lr());
      saver_.check();
      fitted_.history.interrupted = stop_ && stop_->after_step();
    }
    finish_steps(0);
    if (fitted_.history.interrupted) {
      training_.interrupt();
      saver_.save(position(), training_.lr());
    } else if (meter_.open()) {
      end_epoch();
    }
    training_.call(on_epochs, [&](Callback& c) { c.on_train_end(training_); });
    saver_.finish();
    fitted_.history.steps = made_;
    fitted_.position = position();
    fitted_.lr = training_.lr();
    return std::move(fitted_);
  }

 private:
  static constexpr auto on_epochs = Callback::Acts::on_epochs, on_steps = Callback::Acts::on_steps;

  FeedOptions feeding(const RankContext& rank, const Device& device) {
    FeedOptions feeding = feed_options(job_.options.run, trainer_.mesh(), job_.workers);
    feeding.target = trainer_.sample_target();
    feeding.shuffle = job_.options.shuffle;
    feeding.augmentation = job_.options.augmentation;
    feeding.first_step = job_.first_step + job_.position.steps;
    feeding.first_epoch = job_.first_epoch + job_.position.epochs;
    feeding.first_step_in_epoch = job_.position.step_in_epoch;
    feeding.steps = job_.length.steps - job_.position.steps;
    feeding.memory = &memory_;
    // Takes its memory before the images take what is left.
    if (job_.options.validation_data) trainer_.prepare_evaluation();
    // A second epoch finds the images where the first has left them.
    feeding.once = job_.length.steps > job_.length.steps_per_epoch && !job_.options.augmentation.any() &&
                   trainer_.keep_images(job_.data->size(), device.sharing);
    if (feeding.once) log().debug("rank {}: the data stays on {}", rank.comm.rank(), device.backend->name());
    return feeding;
  }

  /// Of step `step` of the fit, as a report has them.
  Report numbers(int64_t step) const {
    const int64_t per_epoch = job_.length.steps_per_epoch;
    return {.epoch = job_.first_epoch + step / per_epoch,
            .epochs = job_.first_epoch + job_.length.epochs,
            .step = job_.first_step + step,
            .step_in_epoch = step % per_epoch,
            .steps_per_epoch = per_epoch,
            .lr = job_.options.schedule.at(training_.lr(), step, job_.length.steps)};
  }

  FitPosition position() const {
    return {.steps = made_,
            .epochs = epochs_ended_,
            .step_in_epoch = made_ - epochs_ended_ * job_.length.steps_per_epoch,
            .sums = meter_.sums(),
            .ended = meter_.ended()};
  }

  /// Whether a step was started: not where a callback has stopped the fit.
  bool start_step() {
    if (training_.stopped()) return false;
    const auto start = Clock::now();
    const Batch& batch = feed_.next();
    const double waited = trainer_.pending() > 0 && !trainer_.ready() ? 0 : seconds_since(start);
    Report report = numbers(made_);
    const bool begins = batch.step_in_epoch == 0 || made_ == job_.position.steps;
    if (begins) training_.call(on_epochs, [&](Callback& c) { c.on_epoch_begin(training_, report); });
    training_.call(on_steps, [&](Callback& c) { c.on_step_begin(training_, report); });
    if (training_.stopped()) return false;
    report.lr = numbers(made_).lr;  // callbacks may have changed it
    started_.push_back(
        {.report = report, .samples = batch.samples, .waited = waited, .ends_epoch = batch.end_of_epoch});
    trainer_.start(batch, report.lr);
    training_.started();
    ++made_;
    return true;
  }

  /// Whether what follows the last step comes before the next one starts.
  bool must_finish() const {
    return started_.back().ends_epoch && (job_.options.validation_data || training_.acts(on_epochs));
  }

  /// Waits for steps until no more than `left` are under way.
  void finish_steps(size_t left) {
    for (; started_.size() > left; started_.pop_front()) {
      const Report report = meter_.step(started_.front(), trainer_.wait());
      training_.call(on_steps, [&](Callback& c) { c.on_step_end(training_, report); });
      if (started_.front().ends_epoch) end_epoch();
    }
  }

  void end_epoch() {
    Report report = meter_.end_epoch();
    const FitOptions& options = job_.options;
    if (options.validation_data && (report.epoch + 1) % options.validation_freq == 0)
      report.validation = evaluate_rank(
          options.validation_data, options.run, job_.workers, trainer_, memory_, [&](int64_t done, int64_t steps) {
            training_.show([&](Callback& c) { c.on_validation_step(training_, report, done, steps); });
          });
    training_.call(on_epochs, [&](Callback& c) { c.on_epoch_end(training_, report); });
    fitted_.history.epochs.push_back(report);
    ++epochs_ended_;
    meter_.begin_epoch();
  }

  const FitJob& job_;
  RankContext& rank_;
  Trainer& trainer_;
  HostMemory memory_;
  SharedTraining training_;
  BatchFeed feed_;
  size_t ahead_;  // on a device the next step is under way before the host looks at the last one's result
  int64_t made_, epochs_ended_;
  Meter meter_;
  FitSaver saver_;
  std::optional<StopAgreement> stop_;
  std::deque<Started> started_;
  Fitted fitted_;
};

}  // namespace

FeedOptions feed_options(const RunOptions& options, const Mesh& mesh, int workers) {
  const int lanes = options.numerics == Numerics::fast ? mesh.data_ranks() : options.lanes;
  const int own = lanes / mesh.data_ranks();
  return {.batch = options.batch,
          .lanes = lanes,
          .first_lane = int64_t{own} * mesh.data_rank(),
          .lane_count = own,
          .seed = options.seed,
          .workers = workers};
}

Fitted fit_rank(const FitJob& job, RankContext& rank, Trainer& trainer, Device& device) {
  return FitLoop(job, rank, trainer, device).run();
}

Evaluation evaluate_rank(std::shared_ptr<const Dataset> data, const RunOptions& options, int workers, Trainer& trainer,
                         HostMemory& memory, const std::function<void(int64_t, int64_t)>& step_ended) {
  FeedOptions feeding = feed_options(options, trainer.mesh(), workers);
  feeding.target = trainer.sample_target();
  feeding.steps = (data->size() + options.batch - 1) / options.batch;
  feeding.memory = &memory;
  BatchFeed feed(std::move(data), feeding);
  Totals totals(trainer.measures());
  for (int64_t i = 0; i < feeding.steps; ++i) {
    totals.add(trainer.evaluate(feed.next()));
    if (step_ended) step_ended(i + 1, feeding.steps);
  }
  return totals.means();
}

}  // namespace lockstep
