#include "launch/selftest/selftest.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "launch/backends/backends.h"
#include "launch/host/system_info.h"
#include "launch/host/topology.h"
#include "launch/selftest/exchanges.h"
#include "launch/selftest/training.h"
#include "parallel/comm/forwarding.h"
#include "parallel/comm/gather.h"

namespace lockstep {

namespace {

using selftest_checks::Finding;
using selftest_checks::Subject;

/// Far below what any link of its kind has, so that only one that is broken or badly placed falls under it.
constexpr double least_nvlink = 20e9, least_pcie = 2e9, least_of_median = 0.1;

/// What the rates of links and memories are, and those that are far from what they should be.
Finding rates(const Subject& subject) {
  RankContext rank{subject.comm, subject.rank.local_rank, subject.rank.local_size, subject.rank.host};
  // In host memory, which communicators of devices do not take.
  const bool on_host = !subject.device.own_comm;
  const std::vector<RankReport> reports = survey(on_host ? rank : subject.rank);
  Finding finding;
  const auto fault = [&](std::string text) {
    if (finding.fault.empty()) finding.fault = std::move(text);
  };
  std::vector<double> pairs;
  for (const RankReport& report : reports) {
    for (const PairRates& pair : report.pairs) pairs.push_back(pair.bandwidth);
    for (const CardRates& card : report.cards) {
      if (!card.failure.empty()) fault(fmt::format("GPU {} on {}: {}", card.pci, report.host, card.failure));
      if (card.from_host > 0 && std::min(card.from_host, card.to_host) < least_pcie)
        fault(fmt::format("GPU {} on {}: {:.2f} GB/s from the host, {:.2f} GB/s to it, expected {:.0f} at least",
                          card.pci, report.host, 1e-9 * card.from_host, 1e-9 * card.to_host, 1e-9 * least_pcie));
      const auto next = std::ranges::find(report.gpus, card.next, &GpuReport::pci);
      const auto own = std::ranges::find(report.gpus, card.pci, &GpuReport::pci);
      if (next == report.gpus.end() || own == report.gpus.end() || card.to_next <= 0) continue;
      const std::string& link = own->links.at(static_cast<size_t>(next - report.gpus.begin()));
      const double least = link == "NVLink" ? least_nvlink : least_pcie;
      if (card.to_next < least)
        fault(fmt::format("GPU {} on {}: {:.2f} GB/s to {} over {}, expected {:.0f} at least", card.pci, report.host,
                          1e-9 * card.to_next, card.next, link, 1e-9 * least));
    }
  }
  if (pairs.empty()) return finding;
  std::ranges::sort(pairs);
  const double median = pairs[pairs.size() / 2];
  for (const RankReport& report : reports)
    for (const PairRates& pair : report.pairs)
      if (pair.bandwidth < least_of_median * median)
        fault(fmt::format("ranks {} on {} and {} on {} exchange {:.3f} GB/s, the median pair {:.3f} GB/s", pair.rank,
                          report.host, pair.peer, reports[static_cast<size_t>(pair.peer)].host, 1e-9 * pair.bandwidth,
                          1e-9 * median));
  finding.seen = fmt::format("{} pair{} of ranks, {:.2f} to {:.2f} GB/s each way", pairs.size(),
                             pairs.size() == 1 ? "" : "s", 1e-9 * pairs.front(), 1e-9 * pairs.back());
  return finding;
}

class Selftest {
 public:
  Selftest(Runtime& runtime, const SelftestOptions& options) : runtime_(runtime), options_(options) {
    report_.ranks = runtime.distributed()                                      ? runtime.size()
                    : options.ranks > 0                                        ? options.ranks
                    : !gpus().empty() && options.backend != BackendChoice::cpu ? static_cast<int>(gpus().size())
                                                                               : runtime.auto_ranks(8, 1);
  }

  SelftestReport run() {
    check("machine", [this](const Subject& subject) {
      std::vector<std::string> all =
          gather_texts(subject.rank.comm, fmt::format("{}: {}", subject.rank.host, computes_with(subject.device)));
      if (subject.rank.comm.rank() == 0 || runtime_.distributed()) {
        report_.computes_on = all;
        report_.kind = subject.comm.kind();
      }
      return Finding{"", fmt::format("{} rank{} over {}, {}", all.size(), all.size() == 1 ? "" : "s",
                                     subject.comm.kind(), all[0])};
    });
    check("exchanges", selftest_checks::exchanges);
    check("rates", rates);
    check("same bits", selftest_checks::same_bits);
    check("same bits again", selftest_checks::same_bits_again);
    check("fast numerics", selftest_checks::fast_numerics);
    return std::move(report_);
  }

 private:
  void check(const std::string& name, const std::function<Finding(const Subject&)>& body) {
    SelfCheck& result = report_.checks.emplace_back(SelfCheck{.name = name});
    if (ended_) return;
    result.run = true;
    const auto begin = std::chrono::steady_clock::now();
    try {
      runtime_.run(report_.ranks, [&](RankContext& rank) {
        Device device = make_device({.backend = options_.backend, .comm = options_.comm}, rank, runtime_.distributed());
        std::unique_ptr<Communicator> between;
        if (options_.between) between = options_.between(device.comm(rank));
        Communicator& comm = between ? *between : device.comm(rank);
        const Finding mine = body({rank, device, comm, options_.seed});
        const auto faults = gather_texts(rank.comm, mine.fault);
        const auto hosts = gather_texts(rank.comm, rank.host);
        if (rank.comm.rank() != 0 && !runtime_.distributed()) return;
        const auto first = std::ranges::find_if(faults, [](const std::string& fault) { return !fault.empty(); });
        if (first != faults.end()) {
          const auto at = static_cast<size_t>(first - faults.begin());
          result.fault = fmt::format("rank {} on {}: {}", at, hosts[at], *first);
        }
        result.seen = mine.seen;
      });
    } catch (const InputError&) {
      throw;
    } catch (const Error& error) {
      result.fault = error.what();
      ended_ = true;
    }
    result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

  Runtime& runtime_;
  const SelftestOptions& options_;
  SelftestReport report_;
  bool ended_ = false;  // ranks cannot talk to each other any more
};

}  // namespace

const SelfCheck* SelftestReport::failure() const {
  const auto found = std::ranges::find_if(checks, [](const SelfCheck& one) { return !one.run || !one.fault.empty(); });
  return found == checks.end() ? nullptr : &*found;
}

std::string SelftestReport::text() const {
  std::string text;
  for (const SelfCheck& one : checks) {
    const char* outcome = !one.run ? "not run" : one.fault.empty() ? "ok" : "FAILED";
    text += fmt::format("{:<8} {:<16} {:>6.1f} s  {}\n", outcome, one.name, one.seconds,
                        one.fault.empty() ? one.seen : one.fault);
  }
  return text;
}

nlohmann::ordered_json SelftestReport::json() const {
  auto all = nlohmann::ordered_json::array();
  for (const SelfCheck& one : checks)
    all.push_back({{"name", one.name},
                   {"outcome", !one.run            ? "not run"
                               : one.fault.empty() ? "ok"
                                                   : "failed"},
                   {"fault", one.fault},
                   {"seen", one.seen},
                   {"seconds", one.seconds}});
  return {{"ok", failure() == nullptr},    {"ranks", ranks}, {"communicator", kind},
          {"computes_on", computes_on},    {"checks", all},  {"system", system_info()},
          {"versions", library_versions()}};
}

SelftestReport selftest(Runtime& runtime, const SelftestOptions& options) { return Selftest(runtime, options).run(); }

}  // namespace lockstep
