// Times training steps on request: reads a number of steps a line from standard input, runs them on resident synthetic
// data and prints the seconds they took. So a driver can interleave it with a peer that does the same.
#include <CLI/CLI.hpp>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <iostream>

#include "launch/lockstep.h"
#include "layers/cpu/kernels.h"

using namespace lockstep;

namespace {

struct Arguments {
  std::string model = "seed_cnn", image = "224x224x3", numerics = "reproducible";
  int64_t batch = 32;
  int ranks = 2, threads = 1, lanes = 8;
};

void serve(const Arguments& a) {
  const auto data = open_data(fmt::format("synthetic:{}/10/{}", a.image, a.batch)).train;
  const Network network = zoo_model(a.model, data->image_shape(), data->classes());
  const Numerics numerics = a.numerics == "fast" ? Numerics::fast : Numerics::reproducible;
  const int lanes = numerics == Numerics::fast ? a.ranks : a.lanes;
  std::barrier together(a.ranks);
  int64_t steps = 0;
  Runtime runtime;
  runtime.run(a.ranks, [&](RankContext& rank) {
    const auto backend = make_cpu_backend(a.threads);
    Trainer trainer(network, {{a.batch, a.lanes, numerics}, Adam{}, 1}, rank.comm, *backend, cpu_kernels());
    const int own = lanes / rank.comm.size();
    BatchFeed feed(data, {.batch = a.batch,
                          .lanes = lanes,
                          .first_lane = int64_t{own} * rank.comm.rank(),
                          .lane_count = own,
                          .steps = 1});
    const Batch& batch = feed.next();
    while (true) {
      if (rank.comm.rank() == 0 && !(std::cin >> steps)) steps = 0;
      together.arrive_and_wait();
      if (steps == 0) return;
      const auto start = std::chrono::steady_clock::now();
      for (int64_t i = 0; i < steps; ++i) trainer.train(batch, Adam{}.lr);
      together.arrive_and_wait();
      if (rank.comm.rank() == 0) {
        std::printf("%.6f\n", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
        std::fflush(stdout);
      }
    }
  });
}

}  // namespace

int main(int argc, char** argv) {
  Arguments a;
  CLI::App app{"Times training steps; reads a number of steps a line."};
  app.add_option("--model", a.model);
  app.add_option("--image", a.image);
  app.add_option("--batch", a.batch);
  app.add_option("--ranks", a.ranks);
  app.add_option("--threads", a.threads);
  app.add_option("--lanes", a.lanes);
  app.add_option("--numerics", a.numerics)->check(CLI::IsMember({"reproducible", "fast"}));
  CLI11_PARSE(app, argc, argv);
  try {
    serve(a);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
