#include "launch/model.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "core/error.h"
#include "core/plan/dump.h"
#include "layers/cpu/kernels.h"

namespace lockstep {

namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int lanes_of(const RunOptions& options, int ranks) {
  return options.numerics == Numerics::fast ? ranks : options.lanes;
}

/// The rank's part of each batch: its consecutive lanes.
FeedOptions feed_options(const RunOptions& options, const Communicator& comm) {
  const int lanes = lanes_of(options, comm.size());
  const int own = lanes / comm.size();
  return {.batch = options.batch,
          .lanes = lanes,
          .first_lane = int64_t{own} * comm.rank(),
          .lane_count = own,
          .seed = options.seed};
}

/// Sums that epochs and evaluations are made of. Doubles of equal floats in equal order: the same on every rank.
struct Totals {
  double loss = 0, correct = 0;
  int64_t samples = 0;
};

/// Every rank must have ended with the same bits: a rank that has not is named.
void check_equal_weights(Communicator& comm, Backend& backend, const std::string& sha256) {
  std::vector<char> all(sha256.size() * static_cast<size_t>(comm.size()));
  const auto stream = backend.side_stream();
  comm.all_gather(reinterpret_cast<const std::byte*>(sha256.data()), reinterpret_cast<std::byte*>(all.data()),
                  sha256.size(), *stream);
  stream->synchronize();
  for (int rank = 0; rank < comm.size(); ++rank) {
    const std::string other(all.data() + sha256.size() * static_cast<size_t>(rank), sha256.size());
    if (other != std::string(all.data(), sha256.size()))
      throw Error("ranks ended with different weights: rank 0 has sha256 {:.64}, rank {} has {}", all.data(), rank,
                  other);
  }
}

}  // namespace

void Model::compile(const CompileOptions& options) {
  const std::vector<std::string> losses{"sparse_categorical_crossentropy", "categorical_crossentropy"};
  if (std::ranges::find(losses, options.loss) == losses.end()) throw unknown("loss", options.loss, losses);
  const std::vector<std::string> metrics{"accuracy"};
  for (const auto& metric : options.metrics)
    if (std::ranges::find(metrics, metric) == metrics.end()) throw unknown("metric", metric, metrics);
  optimizer_ = options.optimizer;
  slots_.clear();
}

int Model::ranks(const RunOptions& options) const {
  if (runtime_.distributed()) return runtime_.size();
  if (options.ranks > 0) return options.ranks;
  if (options.numerics == Numerics::fast) return 1;
  return runtime_.auto_ranks(options.lanes, std::max(options.threads, 1));
}

int Model::threads(const RunOptions& options) const {
  if (options.threads > 0) return options.threads;
  if (options.numerics == Numerics::reproducible) return 1;
  const int here = runtime_.distributed() ? runtime_.local_size() : ranks(options);
  return std::max(1, runtime_.cores() / here);
}

void Model::check_data(const Dataset& data) const {
  if (data.image_shape() != network_.input_shape())
    throw InputError("the data's images are {}, the model '{}' takes {}", data.image_shape().str(), network_.name(),
                     network_.input_shape().str());
  const Shape output = network_.output_shape();
  if (output.rank() != 1 || output[0] < data.classes())
    throw InputError("the data has {} classes, the model '{}' ends in {}, expected [{}]", data.classes(),
                     network_.name(), output.str(), data.classes());
  if (data.size() == 0) throw InputError("the data set is empty");
}

void Model::on_ranks(const RunOptions& options, const Body& body) {
  const StepOptions step{options.batch, options.lanes, options.numerics};
  check_batch(step, ranks(options));
  runtime_.run(ranks(options), [&](RankContext& rank) {
    const auto backend = make_cpu_backend(threads(options));
    Trainer trainer(network_, {step, optimizer_, options.seed, options.check_finite}, rank.comm, *backend,
                    cpu_kernels());
    if (!weights_.empty()) trainer.variables().set(weights_);
    if (!slots_.empty()) trainer.variables().set_slots(slots_);
    body(rank, trainer);
    check_equal_weights(rank.comm, *backend, trainer.variables().sha256());
  });
}

void Model::keep(RankContext& rank, Trainer& trainer) {
  // Threads share this object, and all hold the same: one writes. Processes have one each.
  if (rank.comm.rank() != 0 && !runtime_.distributed()) return;
  kept_.weights = trainer.variables().get();
  kept_.slots = trainer.variables().get_slots();
  kept_.sha256 = trainer.variables().sha256();
}

History Model::fit(std::shared_ptr<const Dataset> data, const FitOptions& options) {
  check_data(*data);
  if (options.epochs < 1 && options.steps < 1) throw InputError("epochs is {}, expected 1 or more", options.epochs);
  const int64_t steps_per_epoch = (data->size() + options.run.batch - 1) / std::max<int64_t>(options.run.batch, 1);
  const int64_t steps =
      options.steps > 0 ? std::min(options.steps, options.epochs * steps_per_epoch) : options.epochs * steps_per_epoch;
  const int64_t epochs = (steps_done_ + steps + steps_per_epoch - 1) / steps_per_epoch;
  History history;
  on_ranks(options.run, [&](RankContext& rank, Trainer& trainer) {
    FeedOptions feeding = feed_options(options.run, rank.comm);
    feeding.shuffle = options.shuffle;
    feeding.augmentation = options.augmentation;
    feeding.first_step = steps_done_;
    feeding.steps = steps;
    BatchFeed feed(data, feeding);
    const bool reports = rank.comm.rank() == 0;
    Totals totals;
    auto epoch_start = std::chrono::steady_clock::now();
    for (int64_t i = 0; i < steps; ++i) {
      const auto start = std::chrono::steady_clock::now();
      const Batch& batch = feed.next();
      const StepResult result = trainer.train(batch, options.schedule.at(optimizer_.lr(), i, steps));
      totals.loss += double{result.loss} * static_cast<double>(batch.samples);
      totals.correct += double{result.accuracy} * static_cast<double>(batch.samples);
      totals.samples += batch.samples;
      if (!reports) continue;
      Report report{.epoch = batch.epoch,
                    .epochs = epochs,
                    .step = batch.step,
                    .step_in_epoch = batch.step_in_epoch,
                    .steps_per_epoch = steps_per_epoch,
                    .loss = result.loss,
                    .accuracy = result.accuracy,
                    .images_per_second = static_cast<double>(batch.samples) / seconds_since(start)};
      if (options.on_step) options.on_step(report);
      if (!batch.end_of_epoch && i + 1 < steps) continue;
      const auto samples = static_cast<double>(totals.samples);
      report.loss = static_cast<float>(totals.loss / samples);
      report.accuracy = static_cast<float>(totals.correct / samples);
      report.images_per_second = samples / seconds_since(epoch_start);
      if (options.on_epoch) options.on_epoch(report);
      history.epochs.push_back(report);
      totals = {};
      epoch_start = std::chrono::steady_clock::now();
    }
    keep(rank, trainer);
  });
  weights_ = std::move(kept_.weights);
  slots_ = std::move(kept_.slots);
  weights_sha256_ = std::move(kept_.sha256);
  steps_done_ += steps;
  history.steps = steps;
  return history;
}

Evaluation Model::evaluate(std::shared_ptr<const Dataset> data, const RunOptions& options) {
  check_data(*data);
  Evaluation evaluation;
  on_ranks(options, [&](RankContext& rank, Trainer& trainer) {
    FeedOptions feeding = feed_options(options, rank.comm);
    feeding.steps = (data->size() + options.batch - 1) / options.batch;
    BatchFeed feed(data, feeding);
    Totals totals;
    for (int64_t i = 0; i < feeding.steps; ++i) {
      const Batch& batch = feed.next();
      const StepResult sums = trainer.evaluate(batch);
      totals.loss += sums.loss;
      totals.correct += sums.accuracy;
      totals.samples += batch.samples;
    }
    if (rank.comm.rank() != 0 && !runtime_.distributed()) return;
    const auto samples = static_cast<double>(totals.samples);
    evaluation = {totals.loss / samples, totals.correct / samples, totals.samples};
    weights_sha256_ = trainer.variables().sha256();
  });
  return evaluation;
}

std::vector<float> Model::predict(std::shared_ptr<const Dataset> data, const RunOptions& options) {
  check_data(*data);
  const auto classes = static_cast<size_t>(network_.output_shape().elements());
  std::vector<float> predictions;
  on_ranks(options, [&](RankContext& rank, Trainer& trainer) {
    FeedOptions feeding = feed_options(options, rank.comm);
    feeding.steps = (data->size() + options.batch - 1) / options.batch;
    BatchFeed feed(data, feeding);
    const auto backend = make_cpu_backend(1);
    const auto stream = backend->side_stream();
    std::vector<float> all(static_cast<size_t>(options.batch) * classes);
    std::vector<float> gathered;
    for (int64_t i = 0; i < feeding.steps; ++i) {
      const Batch& batch = feed.next();
      const auto mine = trainer.predict(batch);
      rank.comm.all_gather(reinterpret_cast<const std::byte*>(mine.data()), reinterpret_cast<std::byte*>(all.data()),
                           mine.size() * sizeof(float), *stream);
      stream->synchronize();
      // Padding is at the end of the global batch.
      gathered.insert(gathered.end(), all.begin(),
                      all.begin() + static_cast<ptrdiff_t>(static_cast<size_t>(batch.samples) * classes));
    }
    if (rank.comm.rank() == 0 || runtime_.distributed()) predictions = std::move(gathered);
  });
  return predictions;
}

std::string Model::plan(const RunOptions& options) {
  std::string text;
  on_ranks(options, [&](RankContext& rank, Trainer& trainer) {
    const StepPlan& plan = trainer.training_plan();
    if (rank.comm.rank() == 0) text = dump(plan);
  });
  return text;
}

}  // namespace lockstep
