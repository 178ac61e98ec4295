// What `lockstep topology` finds and measures, and binding to the cores near a GPU, on machines that have one and
// invented machines.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <regex>
#include <thread>

#include "launch/backends/backends.h"
#include "launch/host/binding.h"
#include "launch/host/topology.h"
#include "parallel/comm/local.h"
#include "tests/support/paths.h"
#include "tests/support/run_command.h"
#include "tests/support/temporary_folder.h"

namespace lockstep::testing {
namespace {

using test::Outcome;
using test::run_command;

/// Opens an object of hwloc's XML: its cores and memory nodes are bits.
std::string object(const std::string& type, int index, const std::string& cores, const std::string& nodes) {
  static int id = 0;
  return fmt::format(
      R"(<object type="{}" os_index="{}" cpuset="{}" complete_cpuset="{}" allowed_cpuset="{}" nodeset="{}" )"
      R"(complete_nodeset="{}" allowed_nodeset="{}" gp_index="{}")",
      type, index, cores, cores, cores, nodes, nodes, nodes, ++id);
}

/// Two packages of two cores; a GPU beside the second one.
std::string made_up_machine() {
  std::string text = R"(<?xml version="1.0" encoding="UTF-8"?><!DOCTYPE topology SYSTEM "hwloc2.dtd">)"
                     R"(<topology version="2.0">)" +
                     object("Machine", 0, "0xf", "0x3") + ">";
  for (int package = 0; package < 2; ++package) {
    const std::string cores = package ? "0xc" : "0x3", node = package ? "0x2" : "0x1";
    text += object("Package", package, cores, node) + ">";
    text += object("NUMANode", package, cores, node) + fmt::format(" local_memory=\"{}\"/>", 1024 * (package + 1));
    for (int core = 2 * package; core < 2 * package + 2; ++core) {
      const std::string bit = fmt::format("{:#x}", 1 << core);
      text += object("Core", core, bit, node) + ">" + object("PU", core, bit, node) + "/></object>";
    }
    if (package == 1)
      text += R"(<object type="Bridge" gp_index="100" bridge_type="0-1" depth="0" bridge_pci="0000:[10-1f]">)"
              R"(<object type="PCIDev" gp_index="101" pci_busid="0000:18:00.0" )"
              R"(pci_type="0302 [10de:2335] [10de:18be] a1" pci_link_speed="0.000000"/></object>)";
    text += "</object>";
  }
  return text + "</object></topology>";
}

TEST(Cores, AreListedAsRanges) {
  EXPECT_EQ(compact({}), "none");
  EXPECT_EQ(compact({7}), "7");
  EXPECT_EQ(compact({0, 1, 2, 3, 8, 10, 11}), "0-3,8,10-11");
}

TEST(MachineTest, KnowsWhatIsNearADevice) {
  const TemporaryFolder folder;
  write_file(folder.path() / "machine.xml", made_up_machine());
  ::setenv("HWLOC_XMLFILE", (folder.path() / "machine.xml").c_str(), 1);
  const Machine machine;
  ::unsetenv("HWLOC_XMLFILE");
  EXPECT_EQ(machine.near("0000:18:00.0"), (Cores{2, 3}));
  EXPECT_EQ(machine.near("0000:19:00.0"), Cores{});
  EXPECT_EQ(machine.near("not an address"), Cores{});
  EXPECT_EQ(machine.numa_nodes({0}), std::vector{0});
  EXPECT_EQ(machine.numa_nodes({1, 3}), (std::vector{0, 1}));
  EXPECT_EQ(machine.packages(), 2);
  EXPECT_EQ(machine.cores(), 4);
  EXPECT_EQ(machine.hardware_threads(), 4);
  EXPECT_EQ(machine.numa_nodes(), 2);
  EXPECT_EQ(machine.memory(), 3072U);
}

TEST(MachineTest, KnowsNothingWhereItCannotBeRead) {
  ::setenv("HWLOC_XMLFILE", "/nowhere/machine.xml", 1);
  const Machine machine;
  ::unsetenv("HWLOC_XMLFILE");
  EXPECT_EQ(machine.near("0000:18:00.0"), Cores{});
  EXPECT_GE(machine.packages(), 0);
  EXPECT_GE(machine.memory(), 0U);
}

TEST(MachineTest, ThisOneHasTheCoresThatWeMayUse) {
  const Cores usable = usable_cores();
  ASSERT_FALSE(usable.empty());
  EXPECT_GE(Machine::here().hardware_threads(), static_cast<int>(usable.size()));
  EXPECT_FALSE(Machine::here().numa_nodes(usable).empty());
}

TEST(Binding, NearADeviceThatDoesNotExistChangesNothing) {
  const Cores before = usable_cores();
  const std::string text = bind_near({.index = 0, .name = "none", .pci = "ffff:ff:1f.0"});
  EXPECT_EQ(usable_cores(), before);
  EXPECT_EQ(text, "left on cores " + compact(before) + ": hwloc does not know the device ffff:ff:1f.0");
}

TEST(Binding, ToCoresThatWeMayNotUseChangesNothing) {
  const Cores before = usable_cores();
  EXPECT_EQ(bind_within({8000}, "a GPU"), "left on cores " + compact(before) + ": none of them is near a GPU (8000)");
  EXPECT_EQ(usable_cores(), before);
}

TEST(Binding, HoldsForTheThreadAndThoseThatItStarts) {
  const Cores before = usable_cores();
  if (before.size() < 2) GTEST_SKIP() << "one core alone may be used";
  EXPECT_EQ(bind_within(before, "a GPU"), "left on cores " + compact(before) + ": all are near a GPU");
  std::string text;
  Cores bound, child;
  std::thread([&] {
    text = bind_within({before.back(), 8000}, "a GPU");
    bound = usable_cores();
    std::thread([&] { child = usable_cores(); }).join();
  }).join();
  EXPECT_EQ(text, "bound to cores " + compact({before.back()}) + " near a GPU");
  EXPECT_EQ(bound, Cores{before.back()});
  EXPECT_EQ(child, bound);
  EXPECT_EQ(usable_cores(), before) << "other threads stay as they were";
}

// Hosts of a cluster: on `one`, both ranks see both GPUs; on `two`, each rank sees its own alone, as srun can have it.
std::vector<RankReport> cluster() {
  const auto gpu = [](int index, const std::string& pci, std::vector<std::string> links) {
    return GpuReport{index, "NVIDIA H200", pci, uint64_t{141} << 30, "0-31", std::move(links)};
  };
  std::vector<RankReport> ranks(4);
  for (int r = 0; r < 4; ++r) {
    RankReport& rank = ranks[static_cast<size_t>(r)];
    rank = {.rank = r, .local_rank = r % 2, .host = r < 2 ? "one" : "two", .cores = "0-63", .numa_nodes = "0"};
    rank.comm = "mpi";
    rank.gpu_status = "CUDA: 13.0, 2 devices";
    rank.gpu = r < 2 ? r : 0;
    rank.binding = "bound to cores 0-31";
    if (r < 2) rank.gpus = {gpu(0, "0000:18:00.0", {"self", "NVLink"}), gpu(1, "0000:2a:00.0", {"NVLink", "self"})};
  }
  ranks[2].gpus = {gpu(0, "0000:18:00.0", {"self"})};
  ranks[3].gpus = {gpu(0, "0000:2a:00.0", {"self"})};
  return ranks;
}

TEST(Cards, AreSharedOutAmongTheRanksOfTheirHost) {
  const auto ranks = cluster();
  const auto one = cards_of(ranks, "one"), two = cards_of(ranks, "two");
  ASSERT_EQ(one.size(), 2U);
  ASSERT_EQ(two.size(), 2U);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(one[static_cast<size_t>(i)].rank, i);
    EXPECT_EQ(one[static_cast<size_t>(i)].index, i);
    EXPECT_EQ(one[static_cast<size_t>(i)].next_index, 1 - i);
    EXPECT_EQ(two[static_cast<size_t>(i)].rank, 2 + i);
    EXPECT_EQ(two[static_cast<size_t>(i)].index, 0);
    EXPECT_EQ(two[static_cast<size_t>(i)].next_index, -1) << "its rank does not see the other one";
  }
  EXPECT_EQ(link_between(ranks, "one", one[0], one[1]), "NVLink");
  EXPECT_EQ(link_between(ranks, "two", two[0], two[1]), "?");
  EXPECT_EQ(link_between(ranks, "two", two[0], two[0]), "self");
  EXPECT_TRUE(cards_of(ranks, "three").empty());
}

TEST(Cards, OfOneRankTakeTurns) {
  auto ranks = cluster();
  ranks.resize(1);
  const auto cards = cards_of(ranks, "one");
  ASSERT_EQ(cards.size(), 2U);
  EXPECT_EQ(cards[0].rank, 0);
  EXPECT_EQ(cards[1].rank, 0);
}

TEST(Description, OfAClusterShowsGpusLinksAndRates) {
  auto ranks = cluster();
  ranks[0].pairs = {{0, 1, 12.5e9, 1.5e-6}, {0, 2, 24e9, 3e-6}};
  ranks[0].cards = {{.pci = "0000:18:00.0",
                     .next = "0000:2a:00.0",
                     .inside = 4e12,
                     .from_host = 55e9,
                     .to_host = 54e9,
                     .to_next = 4e11}};
  ranks[1].cards = {{.pci = "0000:2a:00.0", .failure = "out of memory"}};
  ranks[2].cards = {{.pci = "0000:18:00.0", .failure = "the way to X: full", .inside = 3e12}};
  const Outcome text{0, describe(ranks)};
  for (const char* part :
       {"ranks 4 (mpi)\n", "1     one   1      0-63   0     1 (NVIDIA H200, 0000:2a:00.0, 141.0 GiB, near cores 0-31)",
        "  0000:18:00.0  self          NVLink\n", "  0000:18:00.0  self          ?\n",
        "  ranks 0 and 1 (on one): 12.50 GB/s each way, 1.5 us\n",
        "  ranks 0 and 2 (one and two): 24.00 GB/s each way, 3.0 us\n",
        "  one 0000:18:00.0: inside 4000 GB/s (read and written), from host 55.0 GB/s, to host 54.0 GB/s, to "
        "0000:2a:00.0 400.0 GB/s\n",
        "  one 0000:2a:00.0: not measured: out of memory\n",
        "  two 0000:18:00.0: inside 3000 GB/s (read and written); not measured: the way to X: full\n"})
    EXPECT_TRUE(text.says(part)) << part << "\nis not in\n" << text.text;
}

// Threads that take themselves for ranks on three hosts: 0; 1 and 2; 3.
TEST(Survey, EveryRankLearnsOfAllAndHostsAreJoinedByRank0) {
  const auto comms = make_local(4);
  const std::vector<std::string> hosts{"one", "two", "two", "three"};
  const std::vector<int> local_ranks{0, 0, 1, 0}, local_sizes{1, 2, 2, 1};
  std::vector<std::vector<RankReport>> found(4);
  std::vector<std::thread> threads;
  for (size_t r = 0; r < 4; ++r)
    threads.emplace_back([&, r] {
      RankContext rank{*comms[r], local_ranks[r], local_sizes[r], hosts[r]};
      found[r] = survey(rank);
    });
  for (std::thread& thread : threads) thread.join();
  std::vector<std::pair<int, int>> pairs;
  for (size_t r = 0; r < 4; ++r) {
    ASSERT_EQ(found[r].size(), 4U);
    EXPECT_EQ(describe(found[r]), describe(found[0]));
    const RankReport& report = found[0][r];
    EXPECT_EQ(report.rank, static_cast<int>(r));
    EXPECT_EQ(report.host, hosts[r]);
    EXPECT_EQ(report.copy_alone > 0, local_ranks[r] == 0);
    EXPECT_TRUE(std::isfinite(report.copy_together) && report.copy_together > 0);
    for (const PairRates& pair : report.pairs) {
      EXPECT_EQ(pair.rank, report.rank);
      EXPECT_TRUE(std::isfinite(pair.bandwidth) && pair.bandwidth > 0);
      EXPECT_TRUE(std::isfinite(pair.latency) && pair.latency > 0);
      pairs.emplace_back(pair.rank, pair.peer);
    }
  }
  EXPECT_EQ(pairs, (std::vector<std::pair<int, int>>{{0, 1}, {0, 3}, {2, 3}})) << "host two is joined as 0 and 1";
}

Outcome run(const std::string& arguments, const std::string& before = "") {
  return run_command("timeout 120 " + before + " " + test::binary_dir() + "/lockstep topology " + arguments);
}

/// All numbers before `unit`, each of which must be above 0 and finite.
size_t numbers_before(const Outcome& outcome, const std::string& unit) {
  const std::regex pattern("([^ ]+) " + unit);
  size_t count = 0;
  for (std::sregex_iterator at(outcome.text.begin(), outcome.text.end(), pattern), end; at != end; ++at, ++count) {
    const double value = std::strtod((*at)[1].str().c_str(), nullptr);
    EXPECT_TRUE(std::isfinite(value) && value > 0) << (*at)[0] << " in\n" << outcome.text;
  }
  return count;
}

/// What holds for `ranks` ranks on this host, however they were started.
void check_report(const Outcome& outcome, int ranks) {
  ASSERT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_EQ(outcome.count(fmt::format("ranks {} (", ranks)), 1U) << outcome.text;
  const std::string host = outcome.text.substr(0, outcome.text.find(": rank"));
  const std::string name = host.substr(host.rfind("host ") + 5);
  for (int rank = 0; rank < ranks; ++rank) {
    const std::regex line(fmt::format("\n{} +{} +{} +[0-9,-]+ +[0-9,-]+ +", rank, name, rank));
    EXPECT_EQ(std::distance(std::sregex_iterator(outcome.text.begin(), outcome.text.end(), line), {}), 1)
        << "rank " << rank << " in\n"
        << outcome.text;
  }
  EXPECT_EQ(outcome.count("\nhost " + name + ": rank"), 1U) << outcome.text;
  EXPECT_EQ(outcome.count("(" + gpu_status() + ")"), 1U) << outcome.text;
  EXPECT_EQ(outcome.count("gpus    none"), gpus().empty() ? 1U : 0U) << outcome.text;
  // Two rates of the host's memory, one of each pair of ranks.
  const size_t pairs = static_cast<size_t>(ranks) / 2;
  EXPECT_GE(numbers_before(outcome, "GB/s"), 2 + pairs) << outcome.text;
  EXPECT_EQ(numbers_before(outcome, "us\n"), pairs) << outcome.text;
  numbers_before(outcome, "GiB");
}

TEST(TopologyVerb, RanksAsThreads) {
  for (const int ranks : {1, 2, 3}) check_report(run(fmt::format("--ranks {}", ranks)), ranks);
}

TEST(TopologyVerb, ShowsTheCoresThatARankMayUse) {
  const std::string core = std::to_string(usable_cores().back());
  const Outcome outcome = run("--ranks 1", "taskset -c " + core);
  EXPECT_EQ(outcome.code, 0) << outcome.text;
  EXPECT_TRUE(std::regex_search(outcome.text, std::regex("\n0 +[^ ]+ +0 +" + core + " +"))) << outcome.text;
}

TEST(TopologyVerb, RefusesBadInput) {
  for (const auto& [arguments, message] : {std::pair{"--ranks 0", "--ranks is '0', expected auto or a number from 1"},
                                           {"--ranks few", "--ranks is 'few', expected auto"},
                                           {"--rank 2", "did you mean '--ranks'"},
                                           {"--batch 32", "unknown option '--batch'"},
                                           {"--log loud", "loud"}}) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, 2) << outcome.text;
    EXPECT_EQ(outcome.count(message), 1U) << outcome.text;
    EXPECT_EQ(outcome.count("measured"), 0U) << outcome.text;
  }
}

}  // namespace
}  // namespace lockstep::testing
