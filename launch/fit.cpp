#include "launch/fit.h"

#include <algorithm>
#include <chrono>
#include <deque>

#include "core/log.h"
#include "launch/shared_training.h"

namespace lockstep {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Sums that epochs and evaluations are made of. Doubles of equal floats in equal order: the same on every rank.
class Totals {
 public:
  explicit Totals(const Measures& measures) : measures_(&measures), sums_(measures.floats()) {}
  void add(const StepResult& result) {
    loss_ += double{result.loss_sum};
    for (size_t i = 0; i < sums_.size(); ++i) sums_[i] += double{result.sums[i]};
    samples_ += result.samples;
  }
  int64_t samples() const { return samples_; }
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
  explicit Meter(const Measures& measures) : measures_(measures), totals_(measures) {}
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
    waited_ += started.waited;
    return last_;
  }
  /// Whether an epoch has steps and was not ended.
  bool open() const { return totals_.samples() > 0; }
  /// The epoch that ends with the last step.
  Report end_epoch() {
    Report report = last_;
    const auto samples = static_cast<double>(totals_.samples());
    const double seconds = seconds_since(epoch_start_);
    set_measured(report, totals_.means());
    report.images_per_second = samples / seconds;
    report.data_share = std::min(waited_ / seconds, 1.0);
    totals_ = Totals(measures_);
    waited_ = 0;
    return report;
  }
  /// What was done since the epoch's end is no part of the next one.
  void begin_epoch() { epoch_start_ = step_start_ = Clock::now(); }

 private:
  Clock::time_point step_start_ = Clock::now(), epoch_start_ = step_start_;
  const Measures& measures_;
  Totals totals_;
  double waited_ = 0;
  Report last_;
};

class FitLoop {
 public:
  FitLoop(const FitJob& job, RankContext& rank, Trainer& trainer, Device& device)
      : job_(job),
        trainer_(trainer),
        memory_(*device.backend),
        training_(job.network, trainer, rank.comm, job.options.callbacks, job.lr,
                  job.options.validation_data != nullptr, job.first_step),
        feed_(job.data, feeding(rank, device)),
        ahead_(trainer.runs_ahead() ? 1 : 0),
        meter_(trainer.measures()) {}

  Fitted run() {
    training_.call(on_epochs, [&](Callback& c) { c.on_train_begin(training_); });
    while (made_ < job_.length.steps && start_step()) finish_steps(must_finish() ? 0 : ahead_);
    finish_steps(0);
    if (meter_.open()) end_epoch();
    training_.call(on_epochs, [&](Callback& c) { c.on_train_end(training_); });
    fitted_.history.steps = made_;
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
    feeding.first_step = job_.first_step;
    feeding.first_epoch = job_.first_epoch;
    feeding.steps = job_.length.steps;
    feeding.memory = &memory_;
    // Takes its memory before the images take what is left.
    if (job_.options.validation_data) trainer_.prepare_evaluation();
    // A second epoch finds the images where the first has left them.
    feeding.once = job_.length.steps > job_.length.steps_per_epoch && !job_.options.augmentation.any() &&
                   trainer_.keep_images(job_.data->size(), device.sharing);
    if (feeding.once) log().debug("rank {}: the data stays on {}", rank.comm.rank(), device.backend->name());
    return feeding;
  }

  /// Whether a step was started: not where a callback has stopped the fit.
  bool start_step() {
    if (training_.stopped()) return false;
    const auto start = Clock::now();
    const Batch& batch = feed_.next();
    const double waited = trainer_.pending() > 0 && !trainer_.ready() ? 0 : seconds_since(start);
    const Report report{.epoch = batch.epoch,
                        .epochs = job_.first_epoch + job_.length.epochs,
                        .step = batch.step,
                        .step_in_epoch = batch.step_in_epoch,
                        .steps_per_epoch = job_.length.steps_per_epoch};
    if (batch.step_in_epoch == 0) training_.call(on_epochs, [&](Callback& c) { c.on_epoch_begin(training_, report); });
    training_.call(on_steps, [&](Callback& c) { c.on_step_begin(training_, report); });
    if (training_.stopped()) return false;
    started_.push_back(
        {.report = report, .samples = batch.samples, .waited = waited, .ends_epoch = batch.end_of_epoch});
    float& lr = started_.back().report.lr;
    lr = job_.options.schedule.at(training_.lr(), made_, job_.length.steps);
    trainer_.start(batch, lr);
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
      report.validation = evaluate_rank(options.validation_data, options.run, job_.workers, trainer_, memory_);
    training_.call(on_epochs, [&](Callback& c) { c.on_epoch_end(training_, report); });
    fitted_.history.epochs.push_back(report);
    meter_.begin_epoch();
  }

  const FitJob& job_;
  Trainer& trainer_;
  HostMemory memory_;
  SharedTraining training_;
  BatchFeed feed_;
  size_t ahead_;  // on a device the next step is under way before the host looks at the last one's result
  Meter meter_;
  std::deque<Started> started_;
  int64_t made_ = 0;
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
                         HostMemory& memory) {
  FeedOptions feeding = feed_options(options, trainer.mesh(), workers);
  feeding.target = trainer.sample_target();
  feeding.steps = (data->size() + options.batch - 1) / options.batch;
  feeding.memory = &memory;
  BatchFeed feed(std::move(data), feeding);
  Totals totals(trainer.measures());
  for (int64_t i = 0; i < feeding.steps; ++i) totals.add(trainer.evaluate(feed.next()));
  return totals.means();
}

}  // namespace lockstep
