// Every strategy beside one rank: how far gradients and loss are off, what a rank sends, what it needs, how long a step
// takes. Prints a table in Markdown.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <mutex>

#include "launch/lockstep.h"
#include "launch/search.h"
#include "layers/cpu/library.h"
#include "layers/zoo/zoo.h"
#include "parallel/traffic.h"

using namespace lockstep;

namespace {

struct Outcome {
  Weights gradients;  // of the first step, from momentum's variables
  double loss = 0;    // after five steps
  size_t moves = 0, sent = 0, memory = 0;
  double seconds = 0;  // a step, the median of those after the first
};

/// With `nudged`, from weights that are each one unit in the last place off.
Outcome train(const Network& network, const std::shared_ptr<const Dataset>& data, const StepOptions& step, int ranks,
              bool nudged = false) {
  constexpr int steps = 6;
  Outcome outcome;
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
    }
    if (rank.comm.rank() != 0) return;
    std::sort(seconds.begin() + 1, seconds.end());
    outcome.seconds = seconds[seconds.size() / 2 + 1];
    outcome.gradients = std::move(gradients);
    outcome.loss = result.loss;
    const StepPlan& plan = trainer.training_plan();
    for (const Collective& one : collectives(plan, mesh, true)) {
      ++outcome.moves;
      outcome.sent += one.bytes;
    }
    outcome.memory = Executor::bytes(plan) + trainer.variables().memory().bytes();
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

struct Row {
  std::string name;
  Network network;
  int64_t batch;
};

}  // namespace

int main() {
  Runtime runtime;
  const Link link = measure_link(runtime);
  const std::vector<Row> rows{{"seed_cnn 64x64", seed_cnn({64, 64, 3}, 10), 16},
                              {"lenet5 28x28", lenet5({28, 28, 1}, 10), 32},
                              {"resnet18 32x32", resnet18({32, 32, 3}, 10), 8}};
  std::printf(
      "\"+ulp\": one rank whose weights begin one unit in the last place off, which shows what rounding does to a "
      "network\n"
      "by itself; \"+shard\": --shard-optimizer; \"+recompute\": --recompute '*'.\n");
  std::printf("oneDNN %s on %s; one thread a rank, ranks are threads of one process; lanes 2\n\n",
              onednn_version().c_str(), onednn_isa().c_str());
  std::printf(
      "| model | strategy | ranks | gradients off | loss off | collectives | sent a step, MiB | memory of a rank | "
      "step, ms | predicted, ms |\n");
  std::printf("|---|---|---|---|---|---|---|---|---|---|\n");
  for (const auto& [name, network, batch] : rows) {
    const Shape image = network.input_shape();
    const auto data = open_data(fmt::format("synthetic:{}x{}x{}/10/{}", image[0], image[1], image[2], 6 * batch)).train;
    const StepOptions step{.batch = batch, .lanes = 2};
    const Outcome one = train(network, data, step, 1);
    std::map<std::string, double> predicted;
    for (const int ranks : {1, 2, 4})
      for (const Candidate& c : search_strategies(runtime, network, step, SGD{.momentum = 0.9F}, ranks, 1, link))
        if (c.refusal.empty()) predicted[c.strategy] = c.seconds();
    for (const char* text :
         {"data=1", "data=1+ulp", "data=2", "data=2+shard", "data=1+recompute", "space_h=2", "space_w=2", "filter=2",
          "channel=2", "space_h=4", "space_h=2,space_w=2", "filter=4", "channel=4", "space_h=2,filter=2",
          "space_h=2,channel=2", "data=2,space_h=2", "data=2,filter=2", "filter=2,channel=2"}) {
      std::string strategy = text;
      StepOptions by = step;
      bool nudged = false;
      if (const size_t plus = strategy.find('+'); plus != std::string::npos) {
        if (strategy.ends_with("recompute")) by.recompute = {"*"};
        const bool shard = strategy.ends_with("shard");
        by.strategy = parse_strategy(strategy.substr(0, plus));
        by.strategy.shard_optimizer = shard;
        nudged = strategy.ends_with("ulp");
      } else {
        by.strategy = parse_strategy(strategy);
      }
      const auto ranks = static_cast<int>(by.strategy.ranks_per_lane() * by.strategy.data_ranks.value_or(1));
      const Outcome many = train(network, data, by, ranks, nudged);
      const double gradients = off(many.gradients, one.gradients);
      std::printf("| %s | %s | %d | %s | %.1e | %zu | %.2f | %.2f of one's | %.1f | %s |\n", name.c_str(), text, ranks,
                  gradients == 0 ? "0 (same bits)" : fmt::format("{:.1e}", gradients).c_str(),
                  std::abs(many.loss - one.loss) / one.loss, many.moves, static_cast<double>(many.sent) / 0x1p20,
                  static_cast<double>(many.memory) / static_cast<double>(one.memory), 1e3 * many.seconds,
                  predicted.contains(text) ? fmt::format("{:.1f}", 1e3 * predicted.at(text)).c_str() : "");
      std::fflush(stdout);
    }
  }
}
