// Times training steps on request: reads a number of steps a line from standard input, runs them on resident synthetic
// data and prints the seconds they took. So a driver can interleave it with a peer that does the same. For the line
// "bytes" it prints how many bytes rank 0's kernels read and write in a step, each input and output counted once; for
// "flops" their floating-point operations, as profile counts them; for "peak" what one core could do in a second; for
// "profile", what each node of rank 0 took in ten further steps; for "engines", the algorithms that a GPU's kernels
// use; for "memory", the process' peak memory in bytes.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <iostream>

#include "benchmarks/peak.h"
#include "launch/data/feed/feed.h"
#include "launch/host/host_memory.h"
#include "launch/lockstep.h"
#include "launch/train/device.h"
#include "launch/train/trainer.h"
#include "layers/zoo/zoo.h"
#include "parallel/comm/gather.h"

using namespace lockstep;

namespace {

struct Arguments {
  std::string model = "seed_cnn", image = "224x224x3", numerics = "reproducible", optimizer = "adam";
  std::string backend = "cpu", precision = "fp32";
  int64_t batch = 32, classes = 10;
  int ranks = 2, threads = 1, lanes = 8;
  bool resident = false;
};

/// What `of` says of the kernels of a step, together. Views and reductions, which on one rank move little, do not
/// count.
double of_step(const StepPlan& plan, double (Op::*of)(const Signature&) const) {
  double all = 0;
  for (const Entry& entry : plan.order) {
    const Node& node = plan.graph.node(entry.node);
    if (!plan.kernels[entry.node].run || node.op->collective() || node.op->name() == "merge_lane") continue;
    all += (*node.op.*of)(plan.signature(node)) * (entry.when == When::each_lane ? plan.lanes : 1);
  }
  return all;
}

/// Of this process, in bytes.
int64_t peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

/// As many steps are under way as the trainer lets be: a device never waits for the host to read a result. With `again`
/// on the batch that was brought before.
void train(Trainer& trainer, const Batch& batch, float lr, int64_t steps, bool again) {
  const size_t ahead = trainer.runs_ahead() ? Trainer::most_pending : 1;
  for (int64_t i = 0; i < steps; ++i) {
    if (trainer.pending() == ahead) trainer.wait();
    again ? trainer.start_again(lr) : trainer.start(batch, lr);
  }
  while (trainer.pending()) trainer.wait();
}

void serve(const Arguments& a) {
  const auto data = open_data(fmt::format("synthetic:{}/{}/{}", a.image, a.classes, a.batch)).train;
  const Network network = zoo_model(a.model, data->image_shape(), data->classes());
  const Optimizer optimizer = Optimizer::from_name(a.optimizer);
  StepOptions options{.batch = a.batch, .lanes = a.lanes, .precision = precision_from_name(a.precision)};
  if (a.numerics == "fast") options.numerics = Numerics::fast;
  const int lanes = a.numerics == "fast" ? a.ranks : a.lanes;
  std::string request;  // rank 0 reads it for all
  Runtime runtime;
  runtime.run(a.ranks, [&](RankContext& rank) {
    DeviceOptions chosen{.backend = backend_from_name(a.backend), .threads = a.threads, .step = options};
    if (a.numerics == "accumulate") chosen.step.numerics = Numerics::fast;
    const Device device = make_device(chosen, rank, runtime.distributed());
    Trainer trainer(network, {.step = options, .optimizer = optimizer, .seed = 1}, device.comm(rank), *device.backend,
                    device.kernels);
    HostMemory memory(*device.backend);
    const int own = lanes / rank.comm.size();
    BatchFeed feed(data, {.batch = a.batch,
                          .lanes = lanes,
                          .first_lane = int64_t{own} * rank.comm.rank(),
                          .lane_count = own,
                          .steps = 1,
                          .ahead = 1,
                          .memory = &memory});
    const Batch& batch = feed.next();
    bool again = false;
    while (true) {
      if (rank.comm.rank() == 0 && !std::getline(std::cin, request)) request = "0";
      meet(rank.comm);
      const int64_t steps = std::atoll(request.c_str());
      std::string answer;
      if (request == "bytes") {
        answer = fmt::format("{:.0f}", of_step(trainer.training_plan(), &Op::bytes));
      } else if (request == "flops") {
        answer = fmt::format("{:.0f}", of_step(trainer.training_plan(), &Op::flops));
      } else if (request == "peak") {
        answer = fmt::format("{:.0f}", peak_flops());
      } else if (request == "memory") {
        answer = fmt::to_string(peak_memory());
      } else if (request == "profile") {
        trainer.profile();
        train(trainer, batch, optimizer.lr(), 10, again);
        answer = trainer.profiled();
      } else if (request == "engines") {
        answer = device.engines ? device.engines->json() : "{}";
      } else if (steps <= 0) {
        return;
      } else {
        const auto start = std::chrono::steady_clock::now();
        train(trainer, batch, optimizer.lr(), steps, again);
        again = a.resident;
        meet(rank.comm);
        answer = fmt::format("{:.6f}", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      }
      if (rank.comm.rank() == 0) {
        fmt::print("{}\n", answer);
        std::fflush(stdout);
      }
      meet(rank.comm);
    }
  });
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a;
  CLI::App app{"Times training steps; reads a number of steps a line."};
  app.add_option("--model", a.model);
  app.add_option("--image", a.image);
  app.add_option("--classes", a.classes);
  app.add_option("--batch", a.batch);
  app.add_option("--ranks", a.ranks);
  app.add_option("--threads", a.threads);
  app.add_option("--lanes", a.lanes);
  app.add_option("--numerics", a.numerics,
                 "reproducible; fast; or accumulate: the lanes of reproducible with the kernels of fast, which is what "
                 "an accumulation of gradients without the promise costs")
      ->check(CLI::IsMember({"reproducible", "fast", "accumulate"}));
  app.add_option("--optimizer", a.optimizer);
  app.add_option("--backend", a.backend)->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_option("--precision", a.precision);
  app.add_flag("--resident", a.resident, "Leave the batch where the steps read it, instead of bringing it each time");
  CLI11_PARSE(app, argc, argv);
  try {
    serve(a);
  } catch (const InputError& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
