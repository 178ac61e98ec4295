#include "launch/estimate/search.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"

namespace lockstep {

namespace {

/// All ways to write `ranks` as a product over the axes from `axis` on, appended to `text`.
void factorise(size_t axis, int ranks, const std::string& text, std::vector<std::string>& all) {
  static const std::vector<std::string> axes = axis_names();
  if (axis == axes.size()) {
    if (ranks == 1) all.push_back(text.empty() ? "data=1" : text.substr(1));
    return;
  }
  for (int size = 1; size <= ranks; ++size)
    if (ranks % size == 0)
      factorise(axis + 1, ranks / size, size == 1 ? text : fmt::format("{},{}={}", text, axes[axis], size), all);
}

}  // namespace

std::vector<std::string> meshes_of(int ranks) {
  std::vector<std::string> all;
  factorise(0, ranks, "", all);
  return all;
}

std::vector<Candidate> search_strategies(Runtime& runtime, const Network& network, const StepOptions& step,
                                         const Optimizer& optimizer, int ranks, int threads, const Link& link) {
  if (runtime.distributed())
    throw InputError("the search times ranks as threads of one process: start it without mpirun, with --ranks {}",
                     ranks);
  std::vector<Candidate> all;
  for (const std::string& text : meshes_of(ranks)) {
    Candidate candidate{.strategy = text};
    try {
      StepOptions by = step;
      by.strategy = parse_strategy(text);
      by.strategy.shard_optimizer = step.strategy.shard_optimizer;
      by.strategy.schedule = step.strategy.schedule;
      candidate.step = estimate_step(runtime, network, by, optimizer, ranks, threads, link);
    } catch (const InputError& error) {
      candidate.refusal = error.what();
    }
    all.push_back(std::move(candidate));
  }
  std::ranges::stable_sort(all, {}, [](const Candidate& c) { return std::pair(!c.refusal.empty(), c.step.seconds()); });
  return all;
}

std::string describe(const std::vector<Candidate>& candidates, const Link& link) {
  std::string text = fmt::format(
      "between ranks: {:.1f} us, {:.2f} GB/s ({}); times are of a step\n"
      "{:<34} {:>10} {:>10} {:>10} {:>10} {:>12} {:>12}\n",
      1e6 * link.latency, 1e-9 * link.bandwidth, link.measured ? "measured" : "given", "strategy", "estimated",
      "compute", "waiting", "sending", "sent", "memory");
  for (const Candidate& c : candidates)
    text += c.refusal.empty()
                ? fmt::format("{:<34} {:>7.1f} ms {:>7.1f} ms {:>7.1f} ms {:>7.1f} ms {:>8.2f} MiB {:>8.1f} MiB\n",
                              c.strategy, 1e3 * c.step.seconds(), 1e3 * c.step.compute, 1e3 * c.step.waiting,
                              1e3 * c.step.communication, static_cast<double>(c.step.sent) / 0x1p20,
                              static_cast<double>(c.step.memory) / 0x1p20)
                : fmt::format("{:<34} refused: {}\n", c.strategy, c.refusal);
  return text;
}

}  // namespace lockstep
