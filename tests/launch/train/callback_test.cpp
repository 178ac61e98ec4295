// Callbacks of fit: where they are called, that what they decide holds on every rank with the same bits, and how they
// fail.
#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "launch/lockstep.h"
#include "tests/support/errors.h"

namespace lockstep {
namespace {

using Acts = Callback::Acts;
using test::error_of;
using test::says;

const Data& digits() {
  static const Data data = prepare_data("digits").data;
  return data;
}

Network small_network() {
  Symbol x = Conv2D(4, {3, 3}, {.activation = Activation::relu})(Input({8, 8, 1}));
  x = BatchNormalization()(x);
  return {"small", Dense(10, {.activation = Activation::softmax})(Flatten()(x))};
}

/// A model and what its fits are: 1437 images in batches of 128 are 12 steps an epoch.
struct Fit {
  Runtime runtime;
  Model model{small_network(), runtime};
  FitOptions options{.epochs = 2,
                     .run = {.batch = 128, .lanes = 4, .seed = 5, .backend = BackendChoice::cpu},
                     .validation_data = digits().test};

  explicit Fit(int ranks = 1, Callbacks callbacks = {}) {
    options.run.ranks = ranks;
    options.callbacks = std::move(callbacks);
    model.compile({.optimizer = SGD{.lr = 0.1F, .momentum = 0.9F}});
  }
  History run() { return model.fit(digits().train, options); }
};

TEST(Callbacks, AreCalledInOrderOnOneThread) {
  std::vector<std::string> calls;
  std::thread::id thread;
  const auto note = [&](const std::string& name) {
    if (calls.empty()) thread = std::this_thread::get_id();
    EXPECT_EQ(thread, std::this_thread::get_id());
    calls.push_back(name);
  };
  const auto train = [&](const char* name) { return [&note, name](Training&) { note(name); }; };
  const auto at = [&](const char* name) {
    return [&note, name](Training&, const Report& r) { note(fmt::format("{} {} {}", name, r.epoch, r.step)); };
  };
  for (const Acts acts : {Acts::never, Acts::on_epochs, Acts::on_steps}) {
    calls.clear();
    Fit fit(2, {lambda_callback({.on_train_begin = train("train"),
                                 .on_train_end = train("trained"),
                                 .on_epoch_begin = at("epoch"),
                                 .on_epoch_end = at("epoch's end"),
                                 .on_step_begin = at("step"),
                                 .on_step_end = at("step's end"),
                                 .acts = acts})});
    fit.options.steps = 13;
    fit.run();
    ASSERT_EQ(calls.size(), 2U + 2 * 2 + 2 * 13);
    EXPECT_EQ(calls[0], "train");
    EXPECT_EQ(calls[1], "epoch 0 0");
    EXPECT_EQ(calls[2], "step 0 0");
    EXPECT_EQ(calls[3], "step's end 0 0");
    EXPECT_EQ(calls[25], "step's end 0 11");
    EXPECT_EQ(calls[26], "epoch's end 0 11");
    EXPECT_EQ(calls[27], "epoch 1 12");
    EXPECT_EQ(calls[30], "epoch's end 1 12");
    EXPECT_EQ(calls[31], "trained");
  }
}

TEST(Callbacks, SeeTheEpochsMeansAndTheValidationsSteps) {
  std::vector<Report> steps, epochs;
  std::vector<int64_t> validated;
  int refused = 0;
  Fit fit(2, {lambda_callback({.on_epoch_end = [&](Training&, const Report& r) { epochs.push_back(r); },
                               .on_step_end = [&](Training&, const Report& r) { steps.push_back(r); },
                               .on_validation_step =
                                   [&](Training& training, const Report& report, int64_t done, int64_t of) {
                                     EXPECT_FALSE(report.validation);
                                     EXPECT_EQ(of, 3);  // 360 images
                                     validated.push_back(done);
                                     refused += error_of<Error>([&] { training.stop(); }).empty() ? 0 : 1;
                                   }})});
  fit.run();
  EXPECT_EQ(validated, (std::vector<int64_t>{1, 2, 3, 1, 2, 3}));
  EXPECT_EQ(refused, 6) << "nothing may act there";
  ASSERT_EQ(steps.size(), 24U);
  EXPECT_EQ(static_cast<float>(steps[0].epoch_so_far.loss), steps[0].loss);
  EXPECT_NE(static_cast<float>(steps[1].epoch_so_far.loss), steps[1].loss);
  for (const size_t epoch : {0U, 1U}) {
    const Report& last = steps[12 * epoch + 11];
    EXPECT_EQ(static_cast<float>(last.epoch_so_far.loss), epochs[epoch].loss);
    EXPECT_EQ(last.epoch_so_far.samples, 1437);
  }
}

TEST(Callbacks, SeeTheValidationThatEvaluateMakes) {
  std::vector<Report> seen;
  const auto note = [&](Training& training, const Report& report) {
    EXPECT_TRUE(training.validates());
    seen.push_back(report);
  };
  Fit fit(2, {lambda_callback({.on_epoch_end = note})});
  fit.options.epochs = 3;
  fit.options.validation_freq = 3;
  const History history = fit.run();
  ASSERT_EQ(seen.size(), 3U);
  EXPECT_FALSE(seen[0].validation || seen[1].validation);
  ASSERT_TRUE(seen[2].validation);
  const Evaluation after = fit.model.evaluate(digits().test, fit.options.run);
  EXPECT_EQ(seen[2].validation->loss, after.loss);
  EXPECT_EQ(seen[2].validation->accuracy, after.accuracy);
  EXPECT_EQ(seen[2].validation->samples, 360);
  ASSERT_EQ(history.epochs.size(), 3U);
  EXPECT_EQ(history.epochs[2].validation->loss, after.loss);
  EXPECT_EQ(measures(seen[1]).size(), 2U);
  EXPECT_EQ(measures(seen[2]).at(3), std::pair(std::string("val_accuracy"), after.accuracy));
}

/// Halves the rate at each third step, and stops at step `last` of the whole run.
std::shared_ptr<Callback> halving(int64_t last) {
  return lambda_callback({.on_step_end = [last](Training& training, const Report& report) {
    if (report.step % 3 == 2) training.set_lr(training.lr() / 2);
    if (report.step == last) training.stop();
  }});
}

TEST(Callbacks, DecideTheSameForEveryNumberOfRanks) {
  std::vector<std::string> hashes;
  for (const int ranks : {1, 2, 4}) {
    Fit fit(ranks, {halving(16)});
    const History history = fit.run();
    EXPECT_EQ(history.steps, 17);
    ASSERT_EQ(history.epochs.size(), 2U) << "the epoch that was stopped ends as any other";
    EXPECT_EQ(history.epochs[1].step, 16);
    EXPECT_TRUE(history.epochs[1].validation);
    EXPECT_EQ(history.epochs[1].lr, 0.1F / 32);
    hashes.push_back(fit.model.weights_sha256());
  }
  EXPECT_EQ(hashes[0], hashes[1]);
  EXPECT_EQ(hashes[0], hashes[2]);
  Fit other(1, {halving(15)}), untouched;
  other.run();
  EXPECT_NE(hashes[0], other.model.weights_sha256());
  untouched.options.steps = 17;
  untouched.run();
  EXPECT_NE(hashes[0], untouched.model.weights_sha256());
}

TEST(Callbacks, ARateThatWasSetStaysInLaterFits) {
  const auto set = [](Training& training, const Report&) { training.set_lr(0.025F); };
  Fit fit(1, {lambda_callback({.on_epoch_end = set})});
  fit.run();
  fit.options.callbacks.clear();
  EXPECT_EQ(fit.run().epochs.at(0).lr, 0.025F);
}

TEST(Callbacks, AStopBeforeAStepKeepsItFromStarting) {
  Fit fit(2, {lambda_callback({.on_step_begin = [](Training& training, const Report& report) {
            if (report.step == 5) training.stop();
          }})});
  const History history = fit.run();
  EXPECT_EQ(history.steps, 5);
  ASSERT_EQ(history.epochs.size(), 1U);
  EXPECT_EQ(history.epochs[0].step, 4);
  Fit five;
  five.options.steps = 5;
  five.run();
  EXPECT_EQ(fit.model.weights_sha256(), five.model.weights_sha256());
}

/// Ranks that hold all variables, ranks that hold parts of them, and ranks that hold parts of the optimizer's.
std::vector<RunOptions> ways_to_run(RunOptions run) {
  std::vector<RunOptions> ways(3, run);
  ways[1].ranks = 2;
  ways[1].strategy = parse_strategy("filter=2");
  ways[2].ranks = 4;
  ways[2].strategy.shard_optimizer = true;
  return ways;
}

TEST(Callbacks, TakeAndSetWholeWeights) {
  Fit reference;
  reference.run();
  for (const RunOptions& run : ways_to_run(reference.options.run)) {
    Weights first;
    Snapshot last;
    Fit fit(1, {lambda_callback({.on_train_end =
                                     [&](Training& training) {
                                       last = training.snapshot();
                                       EXPECT_EQ(last.weights, training.weights());
                                       training.set_weights(first);
                                     },
                                 .on_epoch_end =
                                     [&](Training& training, const Report& report) {
                                       if (report.epoch == 0) first = training.weights();
                                     },
                                 .acts = Acts::on_epochs})});
    fit.options.run = run;
    fit.run();
    EXPECT_EQ(last.steps, 24);
    EXPECT_EQ(last.lr, 0.1F);
    EXPECT_EQ(last.slots.at(0).size(), 6U) << "momentum of each parameter";
    ASSERT_FALSE(first.empty());
    EXPECT_EQ(fit.model.weights(), first);
    EXPECT_NE(last.weights, first);
    if (run.strategy.mesh.size() > 1) continue;
    EXPECT_EQ(last.weights, reference.model.weights());
  }
}

TEST(Callbacks, WhatTheyThrowEndsAllRanks) {
  for (const int ranks : {1, 4}) {
    Fit fit(ranks, {lambda_callback({.on_step_end = [](Training&, const Report& report) {
              if (report.step == 3) throw InputError("the disk of step {} is full", report.step);
            }})});
    EXPECT_EQ(error_of([&] { fit.run(); }), std::string(ranks == 1 ? "" : "rank 0: ") + "the disk of step 3 is full");
    EXPECT_TRUE(fit.model.weights().empty()) << "a failed fit leaves the model as it was";
  }
  Fit silent(4, {lambda_callback(
                    {.on_step_end = [](Training&, const Report&) { throw Error("no more"); }, .acts = Acts::never})});
  EXPECT_EQ(error_of<Error>([&] { silent.run(); }), "rank 0: no more");
  Fit other(2, {lambda_callback({.on_epoch_end = [](Training&, const Report&) { throw std::bad_alloc(); }})});
  EXPECT_NE(error_of<std::exception>([&] { other.run(); }), "");
}

TEST(Callbacks, WhatCannotBeIsRefused) {
  const auto at_step = [](std::function<void(Training&)> what, Acts acts = Acts::on_steps) {
    Fit fit(2, {lambda_callback(
                   {.on_step_end = [what](Training& training, const Report&) { what(training); }, .acts = acts})});
    return error_of<Error>([&] { fit.run(); });
  };
  EXPECT_TRUE(says(at_step([](Training& t) { t.stop(); }, Acts::on_epochs), {"called stop", "acts()"}));
  EXPECT_TRUE(says(at_step([](Training& t) { t.weights(); }, Acts::never), {"called weights", "acts()"}));
  EXPECT_TRUE(says(at_step([](Training& t) { t.set_lr(NAN); }), {"learning rate is nan"}));
  EXPECT_TRUE(says(at_step([](Training& t) { t.set_lr(0); }), {"learning rate is 0"}));
  EXPECT_TRUE(says(at_step([](Training& t) { t.set_weights({}); }), {"'conv2d/kernel' is missing"}));
  EXPECT_TRUE(says(at_step([](Training& t) {
                     Weights weights = t.weights();
                     weights.at("dense/bias").pop_back();
                     t.set_weights(weights);
                   }),
                   {"'dense/bias' has 9 values, expected [10]"}));
  Fit null(1, {nullptr}), never;
  EXPECT_TRUE(says(error_of([&] { null.run(); }), {"a callback is null"}));
  never.options.validation_freq = 0;
  EXPECT_TRUE(says(error_of([&] { never.run(); }), {"validation_freq is 0"}));
  never.options.validation_data = prepare_data("digits", {.resize = "9"}).data.test;
  EXPECT_TRUE(says(error_of([&] { never.run(); }), {"[9, 9, 1]", "[8, 8, 1]"}));
}

}  // namespace
}  // namespace lockstep
