#include "launch/selftest/training.h"

#include <fmt/format.h>

#include <bit>
#include <chrono>
#include <cmath>
#include <map>

#include "core/error.h"
#include "launch/data/feed/feed.h"
#include "launch/data/readers/synthetic.h"
#include "launch/estimate/search.h"
#include "launch/train/trainer.h"
#include "layers/ops.h"
#include "parallel/comm/gather.h"
#include "parallel/comm/local.h"
#include "parallel/mesh/strategy.h"

namespace lockstep::selftest_checks {

namespace {

constexpr float rate = 0.05F;

/// A convolution, a norm, a pool, a dropout and a dense layer: each kind of sum and of random number.
Network small() {
  Symbol x = Conv2D(8, {3, 3}, {.padding = Padding::same, .activation = Activation::relu})(Input({16, 16, 3}));
  x = MaxPooling2D({2, 2})(BatchNormalization()(x));
  x = Conv2D(8, {3, 3}, {.padding = Padding::same, .activation = Activation::relu})(x);
  x = Dropout(0.25F)(Flatten()(x));
  return Network("selftest", Dense(8, {.activation = Activation::softmax})(x));
}

StepOptions options_for(int ranks) {
  const int lanes = std::max(8, static_cast<int>(std::bit_ceil(static_cast<unsigned>(ranks))));
  return {.batch = 2 * lanes, .lanes = lanes};
}

/// What a rank had after each step.
struct Trace {
  std::vector<std::string> weights;  // SHA-256
  std::vector<float> losses;
  double seconds = 0;  // of a step: the median
};

enum class Hash : unsigned char { each_step, at_end };

Trace train(const Subject& subject, const StepOptions& step, Communicator& comm, Communicator& host, int steps,
            Hash when) {
  const Network network = small();
  Trainer trainer(network, {.step = step, .optimizer = SGD{.momentum = 0.9F}, .seed = subject.seed}, comm,
                  *subject.device.backend, subject.device.kernels, &host);
  const Mesh& mesh = trainer.mesh();
  const int lanes = step.numerics == Numerics::fast ? mesh.data_ranks() : step.lanes, own = lanes / mesh.data_ranks();
  BatchFeed feed(open_synthetic(fmt::format("16x16x3/8/{}", 4 * step.batch)).train,
                 {.batch = step.batch,
                  .lanes = lanes,
                  .first_lane = int64_t{own} * mesh.data_rank(),
                  .lane_count = own,
                  .seed = subject.seed,
                  .steps = steps});
  Trace trace;
  std::vector<double> seconds;
  for (int i = 0; i < steps; ++i) {
    const Batch& batch = feed.next();
    const auto begin = std::chrono::steady_clock::now();
    trace.losses.push_back(trainer.train(batch, rate).loss);
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    if (when == Hash::each_step || i + 1 == steps) trace.weights.push_back(trainer.variables().sha256());
  }
  std::ranges::nth_element(seconds, seconds.begin() + std::ssize(seconds) / 2);
  trace.seconds = seconds[seconds.size() / 2];
  return trace;
}

std::string brief(const std::string& sha256) { return sha256.substr(0, 12); }

/// The first step after which two have other weights, in words; empty where there is none.
std::string difference(const Trace& got, const Trace& wanted) {
  for (size_t i = 0; i < got.weights.size(); ++i)
    if (got.weights[i] != wanted.weights[i])
      return fmt::format("after step {} the weights are {}, expected {}", i + 1, brief(got.weights[i]),
                         brief(wanted.weights[i]));
  return "";
}

bool near(float a, float b, float share) { return std::abs(a - b) <= share * std::abs(b); }

/// Without data and stages, which change no bit: what a mesh cuts inside a sample.
std::string cuts_of(const Strategy& strategy) {
  std::string text;
  for (size_t axis = 1; axis < strategy.mesh.size(); ++axis)
    if (axis != strategy.stage_axis())
      text += fmt::format("{}{}={}", text.empty() ? "" : ",", strategy.mesh[axis].name, strategy.mesh[axis].size);
  return text;
}

/// Data parallel over all ranks, or where their number is no power of two by something else that fits.
StepOptions over_all(const Subject& subject) {
  const int ranks = subject.comm.size();
  StepOptions step = options_for(ranks);
  if (std::has_single_bit(static_cast<unsigned>(ranks))) return step;
  const int data = 1 << std::countr_zero(static_cast<unsigned>(ranks));
  step.strategy = parse_strategy(fmt::format("data={},filter={}", data, ranks / data));
  return step;
}

}  // namespace

Finding same_bits(const Subject& subject) {
  constexpr int steps = 4;
  StepOptions step = options_for(subject.comm.size());
  const auto self = make_local(1);
  const Trace alone = train(subject, step, *self[0], *self[0], steps, Hash::each_step);
  // A rank whose processor computes otherwise is found before it spoils the others.
  const auto all = gather_texts(subject.rank.comm, alone.weights.back());
  for (size_t rank = 0; rank < all.size(); ++rank)
    if (all[rank] != all[0])
      return {
          fmt::format("alone, this rank and others train to {}, rank {} to {}", brief(all[0]), rank, brief(all[rank]))};

  Finding finding;
  std::map<std::string, Trace> by_cuts{{"", alone}};
  int meshes = 0;
  for (const std::string& mesh : meshes_of(subject.comm.size())) {
    step.strategy = parse_strategy(mesh);
    step.strategy.overlap_from = 0;
    Trace trace;
    try {
      trace = train(subject, step, subject.comm, subject.rank.comm, steps, Hash::each_step);
    } catch (const InputError&) {
      continue;  // the network or the ranks do not fit it: found by all of them, before anything is sent
    }
    ++meshes;
    const auto [like, first] = by_cuts.try_emplace(cuts_of(step.strategy), trace);
    std::string fault = difference(trace, like->second);
    if (fault.empty() && !near(trace.losses[0], alone.losses[0], 1e-4F))
      fault = fmt::format("the first loss is {}, a rank alone has {}", trace.losses[0], alone.losses[0]);
    if (finding.fault.empty() && !fault.empty()) finding.fault = fmt::format("by {}: {}", mesh, fault);
  }
  finding.seen =
      fmt::format("{} mesh{} of {} rank{}, {} steps: {}", meshes, meshes == 1 ? "" : "es", subject.comm.size(),
                  subject.comm.size() == 1 ? "" : "s", steps, brief(alone.weights.back()));
  return finding;
}

Finding same_bits_again(const Subject& subject) {
  constexpr int steps = 50;
  StepOptions step = over_all(subject);
  std::vector<Precision> precisions{Precision::fp32};
  if (subject.device.engines) precisions.insert(precisions.end(), {Precision::bf16, Precision::fp16});  // a GPU
  Finding finding;
  for (const Precision precision : precisions) {
    step.precision = precision;
    const Trace first = train(subject, step, subject.comm, subject.rank.comm, steps, Hash::at_end);
    const Trace second = train(subject, step, subject.comm, subject.rank.comm, steps, Hash::at_end);
    const std::string sha256 = brief(first.weights[0]);
    if (finding.fault.empty() && (first.weights != second.weights || first.losses != second.losses))
      finding.fault = fmt::format("{} steps in {} came to {}, the same again to {}", steps, name_of(precision), sha256,
                                  brief(second.weights[0]));
    finding.seen += fmt::format("{}{} {:.2f} ms a step: {}", finding.seen.empty() ? "" : ", ", name_of(precision),
                                1e3 * first.seconds, sha256);
  }
  finding.seen = fmt::format("{} steps, twice: {}", steps, finding.seen);
  return finding;
}

Finding fast_numerics(const Subject& subject) {
  const int ranks = subject.comm.size();
  if (!std::has_single_bit(static_cast<unsigned>(ranks))) return {"", "not for this number of ranks"};
  constexpr int steps = 20;
  StepOptions step = options_for(ranks);
  step.lanes = ranks;  // as fast numerics has them, so that batch norms see the same samples
  const Trace kept = train(subject, step, subject.comm, subject.rank.comm, steps, Hash::at_end);
  step.numerics = Numerics::fast;
  const Trace fast = train(subject, step, subject.comm, subject.rank.comm, steps, Hash::at_end);
  Finding finding;
  if (!near(fast.losses[0], kept.losses[0], 1e-3F))
    finding.fault = fmt::format("the first loss is {}, with reproducible numerics {}", fast.losses[0], kept.losses[0]);
  finding.seen = fmt::format("reproducible {:.2f} ms a step, fast {:.2f} ms", 1e3 * kept.seconds, 1e3 * fast.seconds);
  return finding;
}

}  // namespace lockstep::selftest_checks
