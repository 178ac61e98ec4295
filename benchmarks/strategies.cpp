// Every strategy beside one rank: how far gradients and loss are off, what a rank sends, what it needs, how long a step
// takes and was estimated to take. Prints a table in Markdown, and how good the estimates were.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <mutex>

#include "launch/data/feed/feed.h"
#include "launch/estimate/step_estimate.h"
#include "launch/lockstep.h"
#include "launch/train/device.h"
#include "launch/train/trainer.h"
#include "layers/cpu/library.h"
#include "layers/zoo/zoo.h"
#include "parallel/placement/traffic.h"

using namespace lockstep;

namespace {

struct Outcome {
  Weights gradients;                       // of the first step, from momentum's variables
  double loss = 0;                         // after five steps
  size_t moves = 0, sent = 0, memory = 0;  // of the rank that has most
  double seconds = 0;                      // a step, the median of those after the first
};

/// With `nudged`, from weights that are each one unit in the last place off.
Outcome train(const Network& network, const std::shared_ptr<const Dataset>& data, const StepOptions& step, int ranks,
              int steps, bool nudged = false) {
  constexpr int told = 5;  // the step whose loss is
  Outcome outcome;
  std::mutex mutex;
  Runtime runtime;
  runtime.run(ranks, [&](RankContext& rank) {
    const Device device = make_device({.backend = BackendChoice::cpu, .step = step}, rank, false);
    const Optimizer optimizer = SGD{.lr = 0.01F, .momentum = 0.9F};
    Trainer trainer(network, {.step = step, .optimizer = optimizer, .seed = 1}, device.comm(rank), *device.backend,
                    device.kernels);
    if (nudged) {
      Weights weights = trainer.variables().get();
      for (auto& [name, values] : weights)
        for (float& x : values) x = std::nextafter(x, 2.0F);
      trainer.variables().set(weights);
    }
    const Mesh& mesh = trainer.mesh();
    const int own = step.lanes / mesh.data_ranks();
    BatchFeed feed(data, {.batch = step.batch,
                          .lanes = step.lanes,
                          .first_lane = int64_t{own} * mesh.data_rank(),
                          .lane_count = own,
                          .steps = steps});
    std::vector<double> seconds;
    StepResult result;
    Weights gradients;
    for (int i = 0; i < steps; ++i) {
      const Batch& batch = feed.next();
      const auto start = std::chrono::steady_clock::now();
      result = trainer.train(batch, optimizer.lr());
      seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      if (i == 0) gradients = trainer.variables().get_slots().at(0);
      if (i == told && rank.comm.rank() == 0) outcome.loss = result.loss;
    }
    const StepPlan& plan = trainer.training_plan();
    size_t moves = 0, sent = 0;
    for (const Collective& one : collectives(plan, mesh, Numerics::reproducible)) {
      ++moves;
      sent += one.bytes;
    }
    const std::lock_guard lock(mutex);
    outcome.moves = std::max(outcome.moves, moves);
    outcome.sent = std::max(outcome.sent, sent);
    outcome.memory = std::max(outcome.memory, Executor::bytes(plan) + trainer.variables().memory().bytes());
    if (rank.comm.rank() != 0) return;
    std::sort(seconds.begin() + 1, seconds.end());
    outcome.seconds = seconds[seconds.size() / 2];  // of an even number, after the first
    outcome.gradients = std::move(gradients);
  });
  return outcome;
}

/// The largest difference of any variable's gradient, in units of its largest element.
double off(const Weights& a, const Weights& b) {
  double largest = 0;
  for (const auto& [name, values] : b) {
    double scale = 1e-30, difference = 0;
    const auto& others = a.at(name);
    for (size_t i = 0; i < values.size(); ++i) {
      scale = std::max(scale, std::abs(double{values[i]}));
      difference = std::max(difference, std::abs(double{values[i]} - double{others[i]}));
    }
    largest = std::max(largest, difference / scale);
  }
  return largest;
}

struct Case {
  std::string name;
  Network network;
  int64_t batch;
  int steps;  // timed; more where they are short
};

/// What a row of the table is of.
struct Way {
  StepOptions step;
  int ranks = 1;
  bool nudged = false;
};

/// "data=2+shard": a strategy and what else is changed of `step`.
Way way_of(const std::string& text, const StepOptions& step) {
  Way way{.step = step};
  const auto ends = [&](const char* with) { return text.ends_with(with); };
  way.step.strategy = parse_strategy(text.substr(0, text.find('+')));
  way.step.strategy.shard_optimizer = ends("+shard");
  if (ends("+gpipe")) way.step.strategy.schedule = PipelineSchedule::gpipe;
  if (ends("+recompute")) way.step.recompute = {"*"};
  way.nudged = ends("+ulp");
  way.ranks = static_cast<int>(way.step.strategy.ranks_per_lane() * way.step.strategy.data_ranks.value_or(1));
  return way;
}

struct Timed {
  std::string model, strategy;
  int ranks = 1;
  double estimated = 0, measured = 0;
  double error() const { return estimated / measured - 1; }
};

double median_error(std::vector<Timed> rows) {
  if (rows.empty()) return 0;
  const auto size = [](const Timed& row) { return std::abs(row.error()); };
  std::ranges::sort(rows, {}, size);
  return size(rows[rows.size() / 2]);
}

/// Whether strategies of as many ranks come in the measured order.
void tell_order(const std::string& model, int ranks, const std::vector<Timed>& all) {
  std::vector<Timed> rows;
  std::ranges::copy_if(all, std::back_inserter(rows),
                       [&](const Timed& row) { return row.model == model && row.ranks == ranks; });
  constexpr double alike = 0.1;  // of the shorter time: not told apart
  int pairs = 0, wrong = 0, apart = 0, wrong_apart = 0;
  for (size_t i = 0; i < rows.size(); ++i)
    for (size_t j = 0; j < i; ++j) {
      const auto& [quick, slow] =
          std::minmax(rows[i], rows[j], [](const Timed& a, const Timed& b) { return a.measured < b.measured; });
      const bool differ = slow.measured > (1 + alike) * quick.measured, swapped = quick.estimated > slow.estimated;
      ++pairs;
      wrong += swapped;
      apart += differ;
      wrong_apart += differ && swapped;
    }
  const auto said = std::ranges::min_element(rows, {}, &Timed::estimated);
  const auto was = std::ranges::min_element(rows, {}, &Timed::measured);
  std::printf("| %s | %d | %s | %s | %.1f %% | %d of %d | %d of %d | %.1f %% |\n", model.c_str(), ranks,
              said->strategy.c_str(), was->strategy.c_str(), 100 * (said->measured / was->measured - 1), wrong, pairs,
              wrong_apart, apart, 100 * median_error(rows));
}

}  // namespace

int main() {
  Runtime runtime;
  const std::vector<Case> cases{{"seed_cnn 64x64", seed_cnn({64, 64, 3}, 10), 16, 21},
                                {"lenet5 28x28", lenet5({28, 28, 1}, 10), 32, 101},
                                {"resnet18 32x32", resnet18({32, 32, 3}, 10), 8, 9}};
  std::map<int, Link> links;
  for (const int ranks : {1, 2, 4}) links[ranks] = measure_link(runtime, ranks);
  std::printf(
      "\"+ulp\": one rank whose weights begin one unit in the last place off, which shows what rounding does to a "
      "network\n"
      "by itself; \"+shard\": --shard-optimizer; \"+recompute\": --recompute '*'; \"+gpipe\": --pipeline gpipe.\n");
  std::printf("oneDNN %s on %s; one thread a rank, ranks are threads of one process, on %d cores; lanes 2\n",
              onednn_version().c_str(), onednn_isa().c_str(), runtime.cores());
  for (const int ranks : {2, 4})
    std::printf("link between %d ranks in pairs: %.1f us, %.2f GB/s\n", ranks, 1e6 * links[ranks].latency,
                1e-9 * links[ranks].bandwidth);
  std::printf(
      "\n| model | strategy | ranks | gradients off | loss off | collectives | sent a step, MiB | memory of a rank | "
      "step, ms | estimated, ms | error |\n");
  std::printf("|---|---|---|---|---|---|---|---|---|---|---|\n");
  std::vector<Timed> timed;
  for (const auto& [name, network, batch, steps] : cases) {
    const Shape image = network.input_shape();
    const auto data = open_data(fmt::format("synthetic:{}x{}x{}/10/{}", image[0], image[1], image[2], 6 * batch)).train;
    const StepOptions step{.batch = batch, .lanes = 2};
    const Outcome one = train(network, data, step, 1, steps);
    for (const char* text : {"data=1",
                             "data=1+ulp",
                             "data=2",
                             "data=2+shard",
                             "data=1+recompute",
                             "space_h=2",
                             "space_w=2",
                             "filter=2",
                             "channel=2",
                             "stage=2",
                             "stage=2+gpipe",
                             "space_h=4",
                             "space_h=2,space_w=2",
                             "filter=4",
                             "channel=4",
                             "stage=4",
                             "space_h=2,filter=2",
                             "space_h=2,channel=2",
                             "data=2,space_h=2",
                             "data=2,filter=2",
                             "data=2,stage=2",
                             "filter=2,channel=2"}) {
      const Way way = way_of(text, step);
      // One after the other: a machine that others use too is alike for both.
      double estimated = 0;
      if (!way.nudged)
        estimated =
            estimate_step(runtime, network, way.step, SGD{.momentum = 0.9F}, way.ranks, 1, links[way.ranks]).seconds();
      const Outcome many = train(network, data, way.step, way.ranks, steps, way.nudged);
      if (!way.nudged) timed.push_back({name, text, way.ranks, estimated, many.seconds});
      const double gradients = off(many.gradients, one.gradients);
      const std::string foreseen =
          fmt::format("{:.1f} | {:+.0f} %", 1e3 * estimated, 100 * (estimated / many.seconds - 1));
      std::printf("| %s | %s | %d | %s | %.1e | %zu | %.2f | %.2f of one's | %.1f | %s |\n", name.c_str(), text,
                  way.ranks, gradients == 0 ? "0 (same bits)" : fmt::format("{:.1e}", gradients).c_str(),
                  std::abs(many.loss - one.loss) / one.loss, many.moves, static_cast<double>(many.sent) / 0x1p20,
                  static_cast<double>(many.memory) / static_cast<double>(one.memory), 1e3 * many.seconds,
                  way.nudged ? " | " : foreseen.c_str());
      std::fflush(stdout);
    }
  }
  std::printf("\nmedian of the estimates' errors, without their signs: %.1f %% of %zu\n\n", 100 * median_error(timed),
              timed.size());
  std::printf(
      "| model | ranks | estimated first | measured first | how much slower the one is | pairs in the wrong order | of "
      "pairs more than 10 %% apart | median error |\n|---|---|---|---|---|---|---|---|\n");
  for (const Case& one : cases)
    for (const int ranks : {1, 2, 4}) tell_order(one.name, ranks, timed);
}
