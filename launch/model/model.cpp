#include "launch/model/model.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <nlohmann/json.hpp>

#include "core/cpu/streams.h"
#include "core/error.h"
#include "core/plan/dump.h"
#include "launch/model/fit.h"
#include "launch/model/model_impl.h"
#include "launch/plan/passes.h"
#include "launch/plan/view/draw.h"
#include "launch/plan/view/plan_table.h"
#include "launch/record/checkpoint.h"
#include "launch/record/weights_file.h"

namespace lockstep {

Model::Model(Network network, Runtime& runtime) : impl_(std::make_unique<Impl>(std::move(network), runtime)) {}
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

const Network& Model::network() const { return impl_->network; }
int64_t Model::steps_resumed() const { return impl_->state.fit.steps; }
const Weights& Model::weights() const { return impl_->state.weights; }
void Model::set_weights(Weights weights) { impl_->state.weights = std::move(weights); }
const std::string& Model::weights_sha256() const { return impl_->weights_sha256; }
const std::string& Model::engines() const { return impl_->engines; }
const std::string& Model::profiled() const { return impl_->profiled; }
const std::string& Model::exchange() const { return impl_->exchange; }

void Model::compile(const CompileOptions& options) {
  static_cast<void>(Measures(options.loss, options.metrics, network().output_shape()));  // refuses some
  options.optimizer.check();
  if (const float lr = options.optimizer.lr(); !(lr > 0) || !std::isfinite(lr))
    throw InputError("the learning rate is {}, expected a number above 0", lr);
  impl_->compiled = options;
  impl_->state = {.weights = std::move(impl_->state.weights)};
}

ResolvedRun Model::resolve(const RunOptions& options) const { return impl_->resolve(options); }

CheckedFit Model::check(const Dataset& data, const FitOptions& options) const {
  ResolvedRun run = resolve(options.run);
  return {impl_->length(data, options), std::move(run)};
}

History Model::fit(std::shared_ptr<const Dataset> data, const FitOptions& options) {
  const ResolvedRun run = resolve(options.run);
  const FitLength length = impl_->length(*data, options);
  std::optional<nlohmann::ordered_json> saved_with;
  if (!options.checkpoints.directory.empty()) saved_with = impl_->configuration(*data, options, run, length);
  const FitJob job{.network = impl_->network,
                   .data = data,
                   .options = options,
                   .length = length,
                   .first_step = impl_->state.steps_done - impl_->state.fit.steps,
                   .first_epoch = impl_->state.epochs_done - impl_->state.fit.epochs,
                   .workers = run.workers,
                   .lr = impl_->optimizer().lr(),
                   .position = impl_->state.fit,
                   .callbacks = impl_->state.callbacks,
                   .slot_names = impl_->compiled.optimizer.slot_names(),
                   .configuration = saved_with ? &*saved_with : nullptr};
  expect_steps_left(impl_->state.fit, length);
  Fitted fitted;
  Impl::Kept kept;
  impl_->on_ranks(options.run, run, [&](RankContext& rank, Trainer& trainer, Device& device) {
    if (rank.comm.rank() == 0) impl_->warn_of_other_bits(computes_with(device));
    if (options.run.profile && rank.comm.rank() == 0) trainer.profile();
    Fitted mine = fit_rank(job, rank, trainer, device);
    // What goes on later goes on from the weights themselves, whose average is among the slots.
    if (impl_->compiled.optimizer.common.use_ema && !mine.history.interrupted &&
        mine.position.steps + job.first_step > 0)
      trainer.take_average();
    Impl::Kept left = impl_->kept_of(rank, trainer, device);
    // Threads share this object, processes have one each.
    if (rank.comm.rank() != 0 && !impl_->runtime.distributed()) return;
    fitted = std::move(mine);
    kept = std::move(left);
  });
  // A last step's loss says nothing of the weights that it leaves.
  expect_finite(impl_->network, kept.state.weights,
                fmt::format("the weights after step {}", job.first_step + fitted.position.steps));
  impl_->state = std::move(kept.state);
  impl_->state.lr = fitted.lr;
  impl_->state.steps_done = job.first_step + fitted.position.steps;
  impl_->state.epochs_done = job.first_epoch + fitted.position.epochs;
  if (fitted.history.interrupted) {
    impl_->state.fit = std::move(fitted.position);
    impl_->state.callbacks = states_of(options.callbacks);
  }
  impl_->computed_with.clear();
  impl_->weights_sha256 = std::move(kept.sha256);
  impl_->engines = std::move(kept.engines);
  impl_->profiled = std::move(kept.profiled);
  impl_->exchange = std::move(kept.exchange);
  return std::move(fitted.history);
}

Evaluation Model::evaluate(std::shared_ptr<const Dataset> data, const RunOptions& options) {
  impl_->check_targets(*data);
  const ResolvedRun run = resolve(options);
  Evaluation evaluation;
  impl_->on_ranks(options, run, [&](RankContext& rank, Trainer& trainer, Device& device) {
    HostMemory memory(*device.backend);
    const Evaluation mine = evaluate_rank(data, options, run.workers, trainer, memory);
    std::string sha256 = trainer.variables().sha256();
    if (rank.comm.rank() != 0 && !impl_->runtime.distributed()) return;
    evaluation = mine;
    impl_->weights_sha256 = std::move(sha256);
  });
  return evaluation;
}

std::vector<float> Model::predict(std::shared_ptr<const Dataset> data, const RunOptions& options) {
  impl_->check_images(*data);
  const ResolvedRun run = resolve(options);
  const auto classes = static_cast<size_t>(impl_->network.output_shape().elements());
  std::vector<float> predictions;
  impl_->on_ranks(options, run, [&](RankContext& rank, Trainer& trainer, Device&) {
    WorkerStream stream;
    FeedOptions feeding = feed_options(options, trainer.mesh(), run.workers);
    feeding.steps = (data->size() + options.batch - 1) / options.batch;
    BatchFeed feed(data, feeding);
    // Ranks that share a lane have the same, and lie next to each other.
    const auto together = static_cast<size_t>(trainer.mesh().strategy().ranks_per_lane());
    std::vector<float> all(static_cast<size_t>(options.batch) * classes * together);
    std::vector<float> gathered;
    for (int64_t i = 0; i < feeding.steps; ++i) {
      const Batch& batch = feed.next();
      const auto mine = trainer.predict(batch);
      rank.comm.all_gather(reinterpret_cast<const std::byte*>(mine.data()), reinterpret_cast<std::byte*>(all.data()),
                           mine.size() * sizeof(float), stream);
      stream.synchronize();
      for (size_t part = 1; part * mine.size() * together < all.size(); ++part)
        std::copy_n(all.data() + part * mine.size() * together, mine.size(), all.data() + part * mine.size());
      // Padding is at the end of the global batch.
      gathered.insert(gathered.end(), all.begin(),
                      all.begin() + static_cast<ptrdiff_t>(static_cast<size_t>(batch.samples) * classes));
    }
    if (rank.comm.rank() == 0 || impl_->runtime.distributed()) predictions = std::move(gathered);
  });
  return predictions;
}

void Model::save_weights(const std::filesystem::path& path) const {
  if (impl_->state.weights.empty()) throw Error("the model has no weights to save yet: they come with the first fit");
  write_weights(path.string(), impl_->network, impl_->state.weights);
}

void Model::load_weights(const std::filesystem::path& path) {
  impl_->state.weights = lockstep::load_weights(path, impl_->network);
}

void Model::resume(const std::filesystem::path& checkpoint, const Dataset& data, const FitOptions& options) {
  const ResolvedRun run = resolve(options.run);
  const FitLength length = impl_->length(data, options);
  const nlohmann::ordered_json mine = impl_->configuration(data, options, run, length);
  const StoredCheckpoint stored = open_checkpoint(checkpoint);
  stored.expect(mine);
  TrainingState state = stored.state(impl_->network);
  expect_steps_left(state.fit, length);
  impl_->state = std::move(state);
  impl_->computed_with = stored.manifest().at("run").value("computed_with", "");
}

const std::vector<std::string>& pass_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Pass& pass : passes) all.emplace_back(pass.name);
    return all;
  }();
  return names;
}

std::string Model::plan(const RunOptions& options, const std::string& pass) {
  const Pass& asked = passes[index_of("pass", pass, pass_names())];
  std::map<std::string, std::string, std::less<>> text;
  std::mutex mutex;
  const ResolvedRun run = resolve(options);
  impl_->on_ranks(
      options, run,
      [&](RankContext& rank, Trainer& trainer, Device&) {
        const StepPlan plan = trainer.planned().plan;
        const PlanSummary mine =
            summarise(impl_->network, plan, trainer.mesh(), trainer.variables().layout(), options.numerics);
        const PlanSummary summary = gather_stages(mine, trainer.mesh(), rank.comm);
        if (rank.comm.rank() != 0) return;
        const std::lock_guard lock(mutex);
        text["synchronise"] = dump(plan.graph, plan.order, plan.sync);
        text["step"] = dump(plan);
        text["layers"] = plan_table(impl_->network, summary, trainer.mesh(), trainer.pipeline());
        text["svg"] = draw_plan(impl_->network, summary, trainer.mesh());
      },
      [&](std::string_view name, const Graph& graph) {
        const std::lock_guard lock(mutex);
        text[std::string(name)] = dump(graph);
      });
  const bool of_one_stage = run.step.strategy.stages() > 1 && asked.of_one_stage;
  return (of_one_stage ? "stage 0, as rank 0 has it:\n" : "") + text[pass];
}

}  // namespace lockstep
