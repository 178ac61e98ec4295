// Which GPU each rank gets: from lists as launchers show them, and on emulated devices.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <thread>

#include "core/error.h"
#include "launch/host/gpus.h"
#include "launch/train/device.h"
#include "parallel/comm/local.h"
#include "tests/support/errors.h"

namespace lockstep {
namespace {

using test::error_of;
using test::says;
using Names = std::vector<std::string>;

const Names all_eight{"a", "b", "c", "d", "e", "f", "g", "h"};

std::vector<SeenGpus> on_one_machine(const std::vector<Names>& lists) {
  std::vector<SeenGpus> ranks;
  for (const Names& list : lists) ranks.push_back({"boot", "node7", list});
  return ranks;
}

/// The names of the GPUs, by rank.
Names chosen(const std::vector<SeenGpus>& ranks) {
  Names names;
  const auto choices = share_gpus(ranks);
  for (size_t r = 0; r < ranks.size(); ++r) names.push_back(ranks[r].pci.at(static_cast<size_t>(choices[r].index)));
  return names;
}

int most_sharing(const std::vector<SeenGpus>& ranks) {
  return std::ranges::max(share_gpus(ranks), {}, &GpuChoice::sharing).sharing;
}

TEST(Gpus, RanksThatSeeAllTakeThemInTurn) {
  const auto eight = on_one_machine(std::vector<Names>(8, all_eight));
  EXPECT_EQ(chosen(eight), all_eight);
  EXPECT_EQ(most_sharing(eight), 1);
  EXPECT_EQ(chosen(on_one_machine(std::vector<Names>(3, all_eight))), (Names{"a", "b", "c"}));
  const auto four = on_one_machine(std::vector<Names>(8, {"a", "b", "c", "d"}));
  EXPECT_EQ(chosen(four), (Names{"a", "b", "c", "d", "a", "b", "c", "d"}));
  EXPECT_EQ(most_sharing(four), 2);
  const auto uneven = share_gpus(on_one_machine(std::vector<Names>(3, {"a", "b"})));
  EXPECT_EQ(uneven[0].sharing, 2);
  EXPECT_EQ(uneven[1].sharing, 1);
}

TEST(Gpus, RanksThatSeeOneEachHaveIt) {
  std::vector<Names> lists;
  for (const std::string& name : all_eight) lists.push_back({name});
  const auto ranks = on_one_machine(lists);
  for (const GpuChoice& choice : share_gpus(ranks)) {
    EXPECT_EQ(choice.index, 0);
    EXPECT_EQ(choice.sharing, 1);
  }
  EXPECT_NO_THROW(check_own_gpus(ranks, share_gpus(ranks)));
}

TEST(Gpus, RanksWhoseListsAreTurnedTakeTheirFirst) {
  std::vector<Names> lists;
  Names turned = all_eight;
  for (size_t r = 0; r < 8; ++r) {
    lists.push_back(turned);
    std::ranges::rotate(turned, turned.begin() + 1);
  }
  EXPECT_EQ(chosen(on_one_machine(lists)), all_eight);
  // Halves: four ranks by each.
  const Names low(all_eight.begin(), all_eight.begin() + 4), high(all_eight.begin() + 4, all_eight.end());
  EXPECT_EQ(chosen(on_one_machine({low, low, low, low, high, high, high, high})), all_eight);
}

TEST(Gpus, ARankMakesWayForOneThatHasNoOther) {
  EXPECT_EQ(chosen(on_one_machine({{"a", "b"}, {"a"}})), (Names{"b", "a"}));
  EXPECT_EQ(chosen(on_one_machine({{"a", "b"}, {"b", "c"}, {"a"}, {"b"}}))[1], "c");
}

TEST(Gpus, EqualIdsOfTwoMachinesAreTwoGpusAndContainersOfOneShareIt) {
  const std::vector<SeenGpus> machines{{"boot 1", "node", {"a"}}, {"boot 2", "node", {"a"}}};
  EXPECT_EQ(most_sharing(machines), 1);
  const std::vector<SeenGpus> containers{{"boot", "one", {"a", "b"}}, {"boot", "two", {"a", "b"}}};
  EXPECT_EQ(chosen(containers), (Names{"a", "b"}));
}

TEST(Gpus, WhoSharesIsToldHowToGoOn) {
  for (const auto& lists : {std::vector<Names>{{"a"}, {"a"}},  // one GPU shown to both, or a part of it to each
                            std::vector<Names>(3, {"a", "b"})}) {
    const auto ranks = on_one_machine(lists);
    const std::string error = error_of<InputError>([&] { check_own_gpus(ranks, share_gpus(ranks)); });
    EXPECT_TRUE(says(error, {fmt::format("{} ranks on node7", lists.size()),
                             lists[0].size() == 1 ? "1 GPU (a)" : "2 GPUs (a, b)", "--comm local", "--comm mpi"}))
        << error;
  }
}

TEST(Gpus, ARankWithoutOneIsNamed) {
  const std::vector<SeenGpus> ranks{{"boot 1", "north", {"a"}}, {"boot 2", "south", {}}};
  EXPECT_EQ(share_gpus(ranks)[1].index, -1);
  EXPECT_EQ(error_of<InputError>([&] { check_all_see_gpus(ranks); }),
            "rank 1 on south sees no GPU, but rank 0 on north does: expected one for every rank, or --backend cpu");
  EXPECT_NO_THROW(check_all_see_gpus({ranks[0], ranks[0]}));
  EXPECT_NO_THROW(check_all_see_gpus({ranks[1], ranks[1]}));
}

/// The fewest ranks a GPU, of the fullest one, by trying all choices.
int fewest(const std::vector<SeenGpus>& ranks, std::map<std::string, int> taken = {}, size_t next = 0) {
  if (next == ranks.size()) {
    int most = 0;
    for (const auto& [gpu, count] : taken) most = std::max(most, count);
    return most;
  }
  int best = static_cast<int>(ranks.size());
  for (const std::string& gpu : ranks[next].pci) {
    auto with = taken;
    ++with[gpu];
    best = std::min(best, fewest(ranks, std::move(with), next + 1));
  }
  return best;
}

TEST(Gpus, NoOtherChoiceSharesLess) {
  std::mt19937 bits(1);
  for (int i = 0; i < 300; ++i) {
    std::vector<Names> lists(1 + bits() % 6);
    for (Names& list : lists) {
      list.assign(all_eight.begin(), all_eight.begin() + 4);
      std::ranges::shuffle(list, bits);
      list.resize(1 + bits() % 3);
    }
    const auto ranks = on_one_machine(lists);
    ASSERT_EQ(most_sharing(ranks), fewest(ranks)) << "case " << i;
    std::map<std::string, int> holders;
    const Names names = chosen(ranks);
    for (const std::string& name : names) ++holders[name];
    for (size_t r = 0; r < ranks.size(); ++r)
      ASSERT_EQ(share_gpus(ranks)[r].sharing, holders[names[r]]) << "case " << i;
  }
}

/// What each of `count` threads says that asks for a device, with two there.
std::vector<std::string> asked(int count, const DeviceOptions& options, const char* peers) {
  setenv("LOCKSTEP_EMULATOR_DEVICES", "2", 1);
  setenv("LOCKSTEP_EMULATOR_PEERS", peers, 1);
  const auto comms = make_local(count);
  std::vector<std::string> answers(comms.size());
  std::vector<std::thread> threads;
  for (size_t r = 0; r < comms.size(); ++r)
    threads.emplace_back([&, r] {
      RankContext rank{*comms[r], static_cast<int>(r), count, "node7"};
      try {
        const Device device = make_device(options, rank, false);
        answers[r] = fmt::format("{}, sharing {}", device.backend->name(), device.sharing);
      } catch (const InputError& error) {
        answers[r] = error.what();
      }
    });
  for (std::thread& thread : threads) thread.join();
  unsetenv("LOCKSTEP_EMULATOR_DEVICES");
  unsetenv("LOCKSTEP_EMULATOR_PEERS");
  return answers;
}

TEST(Gpus, ThreadsTakeDevicesInTurn) {
  EXPECT_EQ(asked(3, {.comm = CommChoice::local}, "1"),
            (Names{"cuda 0 (emulated), sharing 2", "cuda 1 (emulated), sharing 1", "cuda 0 (emulated), sharing 2"}));
}

TEST(Gpus, ThreadsWhoseDevicesDoNotReachEachOtherAreRefused) {
  for (const std::string& error : asked(2, {.comm = CommChoice::local}, "0"))
    EXPECT_TRUE(says(error, {"CUDA device", "cannot reach", "--comm nccl"})) << error;
  EXPECT_EQ(asked(1, {}, "0"), Names{"cuda 0 (emulated), sharing 1"});
}

}  // namespace
}  // namespace lockstep
