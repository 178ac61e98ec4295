#include "launch/host/topology.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "launch/host/binding.h"

namespace lockstep {

namespace {

using Reports = std::vector<RankReport>;

double gib(uint64_t bytes) { return static_cast<double>(bytes) / 0x1p30; }
double gb(double bytes) { return bytes / 1e9; }

/// "2 cores"; "1 core".
std::string counted(int n, const char* what) { return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s"); }

std::vector<std::string> hosts_of(const Reports& ranks) {
  std::vector<std::string> hosts;
  for (const RankReport& rank : ranks)
    if (std::ranges::find(hosts, rank.host) == hosts.end()) hosts.push_back(rank.host);
  return hosts;
}

std::string gpu_text(const RankReport& rank) {
  if (rank.gpu < 0) return "none";
  const GpuReport& gpu = rank.gpus[static_cast<size_t>(rank.gpu)];
  return fmt::format("{} ({}, {}, {:.1f} GiB, near cores {}); {}", gpu.index, gpu.name, gpu.pci, gib(gpu.memory),
                     gpu.near.empty() ? "unknown" : gpu.near, rank.binding);
}

/// Left-aligned columns, the last one as long as it is.
std::string table(const std::vector<std::vector<std::string>>& rows, const std::string& indent) {
  std::string text;
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i + 1 < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    text += indent;
    for (size_t i = 0; i + 1 < row.size(); ++i) text += fmt::format("{:<{}}  ", row[i], widths[i]);
    text += row.back() + "\n";
  }
  return text;
}

std::string describe_host(const Reports& ranks, const std::string& host) {
  Cores here;
  for (const RankReport& rank : ranks)
    if (rank.host == host) here.push_back(rank.rank);
  const RankReport& first = ranks[static_cast<size_t>(here[0])];
  std::string text = fmt::format("\nhost {}: rank{} {}\n", host, here.size() == 1 ? "" : "s", compact(here));
  text += fmt::format("  cpu     {}", first.cpu);
  if (first.hardware_threads > 0)
    text += fmt::format(": {}, {}, {}, {}", counted(first.packages, "package"), counted(first.physical_cores, "core"),
                        counted(first.hardware_threads, "hardware thread"), counted(first.memory_nodes, "NUMA node"));
  text += "\n";
  if (first.memory > 0) text += fmt::format("  memory  {:.1f} GiB\n", gib(first.memory));
  const auto cards = cards_of(ranks, host);
  text += fmt::format("  gpus    {} ({})\n", cards.empty() ? "none" : std::to_string(cards.size()), first.gpu_status);
  if (cards.empty()) return text;
  std::vector<std::vector<std::string>> rows{{"links"}};
  for (const Card& card : cards) rows[0].push_back(card.pci);
  for (const Card& card : cards) {
    rows.push_back({card.pci});
    for (const Card& other : cards) rows.back().push_back(link_between(ranks, host, card, other));
  }
  return text + table(rows, "  ");
}

std::string describe_copies(const Reports& ranks) {
  std::string text = "host memory, copied by one rank and by all at once (bytes read and written)\n";
  for (const std::string& host : hosts_of(ranks)) {
    double alone = 0, together = 0;
    int count = 0;
    for (const RankReport& rank : ranks) {
      if (rank.host != host) continue;
      if (rank.local_rank == 0) alone = rank.copy_alone;
      together += rank.copy_together;
      ++count;
    }
    text += fmt::format("  {}: 1 rank {:.1f} GB/s, {} {:.1f} GB/s\n", host, gb(alone), counted(count, "rank"),
                        gb(together));
  }
  return text;
}

std::string describe_pairs(const Reports& ranks) {
  std::string text = fmt::format("between ranks ({}, host memory; {} MiB and 8 bytes, both ways at once)\n",
                                 ranks[0].comm, exchanged_bytes >> 20);
  for (const RankReport& rank : ranks)
    for (const PairRates& pair : rank.pairs) {
      const std::string& there = ranks[static_cast<size_t>(pair.peer)].host;
      const std::string where = there == rank.host ? "on " + there : fmt::format("{} and {}", rank.host, there);
      text += fmt::format("  ranks {} and {} ({}): {:.2f} GB/s each way, {:.1f} us\n", pair.rank, pair.peer, where,
                          gb(pair.bandwidth), pair.latency * 1e6);
    }
  return ranks.size() > 1 ? text : "";
}

std::string describe_cards(const Reports& ranks) {
  std::string text;
  for (const RankReport& rank : ranks)
    for (const CardRates& card : rank.cards) {
      text += fmt::format("  {} {}:", rank.host, card.pci);
      if (card.inside > 0) text += fmt::format(" inside {:.0f} GB/s (read and written)", gb(card.inside));
      if (card.from_host > 0) text += fmt::format(", from host {:.1f} GB/s", gb(card.from_host));
      if (card.to_host > 0) text += fmt::format(", to host {:.1f} GB/s", gb(card.to_host));
      if (card.to_next > 0) text += fmt::format(", to {} {:.1f} GB/s", card.next, gb(card.to_next));
      text +=
          card.failure.empty() ? "\n" : fmt::format("{} not measured: {}\n", card.inside > 0 ? ";" : "", card.failure);
    }
  return text.empty() ? "" : "GPUs, one of a host at a time (host memory pinned)\n" + text;
}

}  // namespace

std::string describe(const Reports& ranks) {
  std::string text =
      fmt::format("ranks {} ({})\n", ranks.size(), ranks[0].comm == "local" ? "threads of one process" : ranks[0].comm);
  std::vector<std::vector<std::string>> rows{{"rank", "host", "local", "cores", "NUMA", "GPU"}};
  for (const RankReport& rank : ranks)
    rows.push_back({std::to_string(rank.rank), rank.host, std::to_string(rank.local_rank), rank.cores, rank.numa_nodes,
                    gpu_text(rank)});
  text += table(rows, "");
  for (const std::string& host : hosts_of(ranks)) text += describe_host(ranks, host);
  return text + "\nmeasured just now\n" + describe_copies(ranks) + describe_pairs(ranks) + describe_cards(ranks);
}

}  // namespace lockstep
