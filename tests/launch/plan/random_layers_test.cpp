// Random networks of every layer, trained by random strategies with random options: as one rank trains them.
// LOCKSTEP_RANDOM_CASES=N tries N of each test's cases, LOCKSTEP_RANDOM_SEED=S begins with another one. What fails
// prints its seed: LOCKSTEP_RANDOM_SEED=<it> LOCKSTEP_RANDOM_CASES=1 repeats it.
#include "tests/launch/plan/random_layers.h"

#include <cstdlib>

#include "launch/train/trainer.h"
#include "layers/cpu/kernels.h"
#include "tests/launch/plan/model_parallel.h"

namespace lockstep::test {
namespace {

uint64_t setting(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::stoull(text) : otherwise;
}

/// Calls body(seed) for so many cases, and fails with the lines that it returns.
template <class Body>
void for_each_case(uint64_t first, uint64_t cases, Body body) {
  first = setting("LOCKSTEP_RANDOM_SEED", first);
  const uint64_t end = first + setting("LOCKSTEP_RANDOM_CASES", cases);
  std::map<std::string, int> refused;
  for (uint64_t seed = first; seed < end; ++seed) {
    std::string wrong;
    try {
      wrong = body(seed);
    } catch (const InputError& error) {
      // Fewer rows than members, and fewer layers than stages, are refused.
      const std::string why = error.what();
      const bool expected = why.find("to share; pin its layer") != std::string::npos ||
                            why.find("that compute something") != std::string::npos;
      if (expected)
        ++refused[why.substr(0, why.find('\''))];
      else
        wrong = "refused: " + why;
    } catch (const std::exception& error) {
      wrong = std::string("failed: ") + error.what();
    }
    if (!wrong.empty()) ADD_FAILURE() << "seed " << seed << ": " << wrong;
  }
  int refusals = 0;
  for (const auto& [why, times] : refused) refusals += times;
  EXPECT_LE(static_cast<uint64_t>(refusals), (end - first) / 4 + 1) << "too few cases were tried";
}

/// Axes with their members, at most `most` ranks, of those names; and the ranks.
std::pair<std::string, int> random_axes(Dice& dice, std::vector<std::string> names, int64_t most) {
  std::string text;
  int64_t ranks = 1;
  while (!names.empty() && (text.empty() || dice.coin())) {
    const std::string name = names[static_cast<size_t>(dice.roll(0, static_cast<int64_t>(names.size()) - 1))];
    const int64_t members = name == "data" ? int64_t{1} << dice.roll(1, 3) : dice.roll(2, 4);
    if (ranks * members <= most) {
      text += fmt::format("{}{}={}", text.empty() ? "" : ",", name, members);
      ranks *= members;
    }
    std::erase(names, name);
  }
  return {text, static_cast<int>(ranks)};
}

/// As difference(), in units of a variable's largest value, or of a hundredth of the largest of all where that is more:
/// a gradient may be nothing but rounding, as a bias' before a norm is.
double off_by(const Weights& a, const Weights& b, std::string& worst) {
  double all = 1e-12;
  for (const auto& [name, values] : b)
    for (const float x : values) all = std::max(all, std::abs(double{x}));
  double largest = 0;
  for (const auto& [name, values] : b) {
    double scale = all / 100, off = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      scale = std::max(scale, std::abs(double{values[i]}));
      const double one = std::abs(double{a.at(name)[i]} - double{values[i]});
      if (std::isnan(one)) {
        worst = name;
        return one;
      }
      off = std::max(off, one);
    }
    if (off / scale > largest) {
      largest = off / scale;
      worst = name;
    }
  }
  return largest;
}

/// Momentum's first velocity is the gradient, clipped.
Optimizer with_gradients(Dice& dice) {
  const CommonOptions common = random_common(dice);
  if (dice.roll(0, 3) == 0) return Optimizer(LARS{.lr = 0.1F, .weight_decay = 0.01F, .eeta = 0.01F}, common);
  return Optimizer(SGD{.lr = 0.05F, .momentum = 0.9F, .nesterov = dice.coin()}, common);
}

TEST(RandomLayers, TrainAsOnOneRankHoweverTheyAreSplit) {
  for_each_case(0, 60, [](uint64_t seed) -> std::string {
    RandomLayers layers(seed);
    const Network network = layers.network(seed % 4 == 0 ? 1 : 4);
    Dice& dice = layers.dice();
    const Optimizer optimizer = with_gradients(dice);
    const StepOptions alone{.batch = 8, .lanes = 2};
    StepOptions step = alone;
    const Trained one = train_by(network, step, 2, 1, BackendChoice::cpu, optimizer)[0];
    const auto [axes, ranks] =
        random_axes(dice, {"space_h", "space_w", "filter", "channel", "space_h", "space_w", "stage"}, 6);
    step.strategy = parse_strategy(axes);
    const bool twice = dice.coin();  // along "data"
    if (dice.coin()) step.strategy.overlap_from = 0;
    step.strategy.shard_optimizer = dice.coin();
    const auto all = train_by(network, step, 2, twice ? 2 * ranks : ranks, BackendChoice::cpu, optimizer);
    for (const Trained& rank : all)
      if (rank.sha256 != all[0].sha256) return axes + ": ranks end with different bits";
    std::string worst, where;
    const double off = off_by(all[0].gradients, one.gradients, worst);
    // Sums of a thousand equal terms, as after padding, are off by as much.
    if (off <= 1e-4) return "";
    // How far rounding alone takes this network: where it has no gradients to speak of, anywhere.
    const auto comms = make_local(1);
    const Trained nudged = train_by(network, alone, 1, *comms[0], BackendChoice::cpu, optimizer, true);
    const double rounding = off_by(nudged.gradients, one.gradients, where);
    if (off <= 10 * rounding || rounding > 1e-2) return "";
    return fmt::format("{}: the gradient of {} is off by {:.1e}, rounding is {:.1e}; {}", axes, worst, off, rounding,
                       network_to_json(network));
  });
}

TEST(RandomLayers, WhatIsOffIsSeen) {
  RandomLayers layers(0);
  const Network network = layers.network(4);
  const Trained one = train_by(network, {.batch = 8, .lanes = 2}, 1, 1)[0];
  std::string worst;
  EXPECT_EQ(off_by(one.gradients, one.gradients, worst), 0);
  for (const auto& [name, values] : one.gradients) {
    double all = 0;
    for (const auto& [other, gradients] : one.gradients)
      for (const float x : gradients) all = std::max(all, std::abs(double{x}));
    Weights moved = one.gradients;
    moved.at(name).back() += static_cast<float>(all * 1e-3);
    EXPECT_GE(off_by(moved, one.gradients, worst), 5e-4) << name;
    EXPECT_EQ(worst, name);
    moved.at(name).back() = std::nanf("");
    EXPECT_FALSE(off_by(moved, one.gradients, worst) <= 1e9) << name;
  }
  // Another way to train is no way to train.
  StepOptions fewer{.batch = 8, .lanes = 1};
  EXPECT_FALSE(train_by(network, fewer, 2, 1)[0].sha256 == train_by(network, {.batch = 8, .lanes = 2}, 2, 1)[0].sha256);
}

/// What a run that was broken off goes on from.
struct State {
  Weights weights;
  std::vector<Weights> slots;
  LossScale scale;
};

/// Steps first … last - 1 on so many ranks, from `state` where there is any; what all ranks have then.
std::string train_on(const Network& network, const StepOptions& step, const Optimizer& optimizer, int ranks,
                     int64_t first, int64_t last, State& state) {
  auto comms = make_local(ranks);
  std::vector<std::string> hashes(comms.size());
  std::vector<std::exception_ptr> errors(comms.size());
  std::vector<std::thread> threads;
  State ended;
  for (size_t r = 0; r < comms.size(); ++r)
    threads.emplace_back([&, r] {
      try {
        const auto backend = make_cpu_backend(1);
        Trainer trainer(network, {.step = step, .optimizer = optimizer, .seed = 5}, *comms[r], *backend, cpu_kernels());
        VariableStore& variables = trainer.variables();
        if (first > 0) {
          trainer.set_weights(state.weights);
          variables.set_slots(state.slots);
          variables.set_loss_scale(state.scale);
        }
        const int own = step.lanes / trainer.mesh().data_ranks();
        BatchFeed feed(std::make_shared<Noise>(network.input_shape(), 10, step.batch * 2 - 1),
                       {.batch = step.batch,
                        .lanes = step.lanes,
                        .first_lane = int64_t{own} * trainer.mesh().data_rank(),
                        .lane_count = own,
                        .seed = 5,
                        .first_step = first,
                        .first_epoch = first / 2,
                        .first_step_in_epoch = first % 2,
                        .steps = last - first});
        for (int64_t i = first; i < last; ++i) trainer.train(feed.next(), optimizer.lr());
        variables.check_replicas();
        hashes[r] = variables.sha256() + variables.slots_sha256();
        Weights weights = variables.get(r == 0);
        std::vector<Weights> slots = variables.get_slots(r == 0);
        if (r == 0) ended = {std::move(weights), std::move(slots), variables.loss_scale()};
      } catch (const std::exception& error) {
        errors[r] = std::current_exception();
        comms[r]->abort(error.what());
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const auto& error : errors)
    if (error) std::rethrow_exception(error);
  state = std::move(ended);
  for (const std::string& hash : hashes)
    if (hash != hashes[0]) return "ranks end with different bits";
  return hashes[0];
}

Optimizer any_optimizer(Dice& dice) {
  const CommonOptions common = random_common(dice);
  const std::string name = dice.one_of<std::string>(
      {"momentum", "adam", "adamw", "rmsprop", "adagrad", "lars", "lars", "lars", "lamb", "lamb", "lamb"});
  Optimizer optimizer = Optimizer::from_name(name);
  optimizer.common = common;
  return optimizer;
}

TEST(RandomLayers, HaveTheBitsOfOneRankByDataStagesAndShardedOptimizers) {
  for_each_case(1000, 40, [](uint64_t seed) -> std::string {
    RandomLayers layers(seed);
    const Network network = layers.network(1);
    Dice& dice = layers.dice();
    const Optimizer optimizer = any_optimizer(dice);
    StepOptions step{.batch = 16, .lanes = 8};
    step.loss_scaling = dice.coin();
    State state;
    const std::string one = train_on(network, step, optimizer, 1, 0, 3, state);
    // Broken off, and gone on by another strategy.
    std::string ways, hash;
    const int64_t middle = dice.roll(1, 2);
    for (const bool begins : {true, false}) {
      const auto [axes, ranks] = random_axes(dice, {"data", "data", "stage"}, 8);
      step.strategy = parse_strategy(axes);
      step.strategy.shard_optimizer = dice.roll(0, 3) > 0;
      step.recompute.clear();
      if (dice.roll(0, 3) == 0) step.recompute = {"*norm*", "*conv*"};
      ways += fmt::format(" {}{}", axes, step.strategy.shard_optimizer ? " sharded" : "");
      hash = train_on(network, step, optimizer, ranks, begins ? 0 : middle, begins ? middle : 3, state);
    }
    if (hash == one) return "";
    return fmt::format("{} by{} has {}, one rank {}; {}", optimizer.name(), ways, hash.substr(0, 12), one.substr(0, 12),
                       network_to_json(network));
  });
}

}  // namespace
}  // namespace lockstep::test
