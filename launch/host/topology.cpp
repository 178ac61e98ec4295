#include "launch/host/topology.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <tuple>

#include "core/backend.h"
#include "core/error.h"
#include "core/log.h"
#include "launch/backends/backends.h"
#include "launch/host/binding.h"
#include "launch/host/gpus.h"
#include "launch/host/system_info.h"
#include "parallel/comm/gather.h"

namespace lockstep {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(GpuReport, index, name, pci, memory, near, links)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(CardRates, pci, next, failure, inside, from_host, to_host, to_next)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PairRates, rank, peer, bandwidth, latency)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RankReport, rank, local_rank, host, cores, numa_nodes, comm, cpu, packages,
                                   physical_cores, hardware_threads, memory_nodes, memory, gpu_status, gpus, gpu,
                                   binding, copy_alone, copy_together, pairs, cards)

namespace {

using Clock = std::chrono::steady_clock;

constexpr double patience = 0.1;  // seconds for one number
constexpr size_t most_runs = 9, fewest_runs = 3;

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

/// Whether a further run is worth its time. The first counts as practice.
bool goes_on(size_t runs, Clock::time_point start) {
  return runs < fewest_runs || (runs < most_runs && since(start) < patience);
}

std::vector<RankReport> gather_reports(Communicator& comm, const RankReport& mine) {
  using Json = nlohmann::json;
  // Names come from hosts and drivers, in whatever encoding.
  const std::string text = Json(mine).dump(-1, ' ', false, Json::error_handler_t::replace);
  std::vector<RankReport> reports;
  for (const std::string& report : gather_texts(comm, text)) reports.push_back(Json::parse(report).get<RankReport>());
  return reports;
}

const char* text_of(DeviceLink link) {
  switch (link) {
    case DeviceLink::self:
      return "self";
    case DeviceLink::nvlink:
      return "NVLink";
    case DeviceLink::pcie:
      return "PCIe";
    case DeviceLink::none:
      break;
  }
  return "none";
}

RankReport look_around(const RankContext& rank, int gpu) {
  const Machine& machine = Machine::here();
  const Cores usable = usable_cores();
  RankReport mine{.rank = rank.comm.rank(),
                  .local_rank = rank.local_rank,
                  .host = rank.host,
                  .cores = compact(usable),
                  .numa_nodes = compact(machine.numa_nodes(usable)),
                  .comm = std::string(rank.comm.kind()),
                  .cpu = system_info()["cpu"].get<std::string>(),
                  .packages = machine.packages(),
                  .physical_cores = machine.cores(),
                  .hardware_threads = machine.hardware_threads(),
                  .memory_nodes = machine.numa_nodes(),
                  .memory = machine.memory(),
                  .gpu_status = gpu_status()};
  const BackendKind& kind = backend_of(BackendChoice::automatic).kind();
  const auto devices = kind.devices();
  for (const DeviceInfo& device : devices) {
    const Cores near = machine.near(device.pci);
    GpuReport report{device.index, device.name, device.pci, device.memory, near.empty() ? "" : compact(near), {}};
    for (const DeviceInfo& other : devices) report.links.emplace_back(text_of(kind.link(device.index, other.index)));
    mine.gpus.push_back(std::move(report));
  }
  mine.gpu = gpu;
  if (gpu < 0) return mine;
  mine.binding = bind_near(devices[static_cast<size_t>(mine.gpu)]);
  log().debug("rank {}: {}", mine.rank, mine.binding);
  return mine;
}

/// Bytes read and written a second while copying from one half of `memory` to the other.
double copy_rate(const Arena& memory) {
  const size_t half = memory.bytes() / 2;
  const auto start = Clock::now();
  size_t runs = 0;
  while (runs < fewest_runs || since(start) < patience) {
    // Forth and back: a compiler that saw the same copy twice could leave one out.
    const bool back = runs++ % 2;
    std::memcpy(memory.data() + (back ? 0 : half), memory.data() + (back ? half : 0), half);
  }
  return 2 * static_cast<double>(half * runs) / since(start);
}

void measure_copies(RankContext& rank, RankReport& mine) {
  const auto backend = make_cpu_backend(1);
  // Larger than a core's caches, yet all ranks of a host together leave its memory alone.
  const size_t room = (size_t{1} << 30) / static_cast<size_t>(std::max(1, rank.local_size));
  const Arena memory(*backend, 2 * std::clamp(room / 2 / 64 * 64, size_t{4} << 20, size_t{64} << 20));
  meet(rank.comm);
  if (rank.local_rank == 0) mine.copy_alone = copy_rate(memory);
  meet(rank.comm);
  mine.copy_together = copy_rate(memory);
  meet(rank.comm);
}

/// Both ranks call.
PairRates measure_pair(Communicator& comm, int peer) {
  const auto backend = make_cpu_backend(1);
  const Arena out(*backend, exchanged_bytes), in(*backend, exchanged_bytes);
  InlineStream stream;
  const bool decides = comm.rank() < peer;
  const auto seconds = [&](size_t bytes, int times) {
    std::vector<double> runs;
    const auto start = Clock::now();
    for (char more = 1; more;) {
      const Message both{peer, out.data(), bytes, in.data(), bytes};
      const auto begin = Clock::now();
      for (int i = 0; i < times; ++i) comm.exchange({&both, 1}, stream);
      runs.push_back(since(begin) / times);
      // Clocks differ: one rank decides for both whether there is another run.
      more = goes_on(runs.size(), start);
      auto* flag = reinterpret_cast<std::byte*>(&more);
      const Message word = decides ? Message{.peer = peer, .send = flag, .send_bytes = 1}
                                   : Message{.peer = peer, .receive = flag, .receive_bytes = 1};
      comm.exchange({&word, 1}, stream);
    }
    runs.erase(runs.begin());
    return median(runs);
  };
  return {comm.rank(), peer, static_cast<double>(exchanged_bytes) / seconds(exchanged_bytes, 1), seconds(8, 20)};
}

void measure_pairs(RankContext& rank, RankReport& mine, const std::vector<RankReport>& all) {
  const int me = rank.comm.rank();
  const auto pair = [&](int peer) {
    const PairRates rates = measure_pair(rank.comm, peer);
    if (me < peer) mine.pairs.push_back(rates);
  };
  meet(rank.comm);
  if ((me ^ 1) < rank.comm.size()) pair(me ^ 1);
  for (const RankReport& other : all) {
    if (other.local_rank != 0 || other.host == all[0].host || other.rank == 1) continue;
    meet(rank.comm);
    if (me == 0 || me == other.rank) pair(me == 0 ? other.rank : 0);
  }
  meet(rank.comm);
}

/// Bytes a second that the stream copies.
double device_rate(Stream& stream, std::byte* to, const std::byte* from, size_t bytes) {
  const auto seconds = [&](int times) {
    const auto start = Clock::now();
    for (int i = 0; i < times; ++i) stream.copy(to, from, bytes);
    stream.synchronize();
    return since(start) / times;
  };
  seconds(1);
  // As many at once as make the wait for the stream's end small.
  const int times = static_cast<int>(std::clamp(2e-3 / seconds(1), 1.0, 20.0));
  std::vector<double> runs;
  const auto start = Clock::now();
  while (goes_on(runs.size(), start)) runs.push_back(seconds(times));
  return static_cast<double>(bytes) / median(runs);
}

CardRates measure_card(const BackendKind& kind, const Card& card) {
  CardRates rates{.pci = card.pci, .next = card.next};
  try {
    constexpr size_t bytes = size_t{256} << 20, over_links = size_t{64} << 20;  // more than a GPU's cache holds
    // Making a backend turns the thread to its device: the other one's memory is taken first.
    std::unique_ptr<Backend> neighbour;
    Arena there;
    if (card.next_index >= 0) {
      try {
        neighbour = kind.make({.device = card.next_index});
        there = Arena(*neighbour, over_links);
      } catch (const std::exception& error) {
        rates.failure = fmt::format("the way to {}: {}", card.next, error.what());
      }
    }
    const auto backend = kind.make({.device = card.index});
    const Arena here(*backend, 2 * bytes), host(*backend, over_links, Memory::host);
    const auto stream = backend->compute_stream();
    rates.inside = 2 * device_rate(*stream, here.data(), here.data() + bytes, bytes);
    rates.from_host = device_rate(*stream, here.data(), host.data(), over_links);
    rates.to_host = device_rate(*stream, host.data(), here.data(), over_links);
    if (there.data()) rates.to_next = device_rate(*stream, there.data(), here.data(), over_links);
  } catch (const std::exception& error) {  // a GPU that others have filled is something to tell, not to end with
    rates.failure = error.what();
  }
  return rates;
}

void measure_cards(RankContext& rank, RankReport& mine, const std::vector<RankReport>& all) {
  // One GPU of a host after the other, while those of other hosts have their turn.
  size_t turns = 0;
  for (const RankReport& other : all)
    if (other.local_rank == 0) turns = std::max(turns, cards_of(all, other.host).size());
  const BackendKind& kind = backend_of(BackendChoice::automatic).kind();
  const auto cards = cards_of(all, rank.host);
  for (const Card& card : cards) {
    if (card.rank != mine.rank) continue;
    try {  // starting a GPU takes long, and need not take turns; what fails here fails again when measured
      if (card.next_index >= 0) kind.make({.device = card.next_index});
      kind.make({.device = card.index});
    } catch (const std::exception& error) {
      log().debug("rank {}: {}", mine.rank, error.what());
    }
  }
  for (size_t turn = 0; turn < turns; ++turn) {
    meet(rank.comm);
    if (turn < cards.size() && cards[turn].rank == mine.rank) mine.cards.push_back(measure_card(kind, cards[turn]));
  }
  meet(rank.comm);
}

const GpuReport* find_gpu(const RankReport& report, const std::string& pci) {
  const auto found = std::ranges::find(report.gpus, pci, &GpuReport::pci);
  return found == report.gpus.end() ? nullptr : &*found;
}

}  // namespace

std::vector<Card> cards_of(const std::vector<RankReport>& ranks, const std::string& host) {
  std::vector<Card> cards;
  const auto taken_by = [&](int rank) { return std::ranges::count(cards, rank, &Card::rank); };
  const auto choose = [&](const GpuReport& gpu) {
    using Rating = std::tuple<int64_t, bool, int>;  // cards so far, not its own, rank
    std::optional<std::pair<Rating, Card>> best;
    for (const RankReport& report : ranks) {
      const GpuReport* seen = report.host == host ? find_gpu(report, gpu.pci) : nullptr;
      if (!seen) continue;
      const Rating rating{taken_by(report.rank), seen->index != report.gpu, report.rank};
      if (!best || rating < best->first)
        best.emplace(rating, Card{.pci = gpu.pci, .name = gpu.name, .rank = report.rank, .index = seen->index});
    }
    return best->second;
  };
  for (const RankReport& report : ranks) {
    if (report.host != host) continue;
    for (const GpuReport& gpu : report.gpus)
      if (std::ranges::find(cards, gpu.pci, &Card::pci) == cards.end()) cards.push_back(choose(gpu));
  }
  for (size_t i = 0; cards.size() > 1 && i < cards.size(); ++i) {
    const std::string& next = cards[(i + 1) % cards.size()].pci;
    const GpuReport* seen = find_gpu(ranks[static_cast<size_t>(cards[i].rank)], next);
    if (!seen) continue;
    cards[i].next = next;
    cards[i].next_index = seen->index;
  }
  return cards;
}

std::string link_between(const std::vector<RankReport>& ranks, const std::string& host, const Card& a, const Card& b) {
  for (const RankReport& report : ranks) {
    if (report.host != host) continue;
    const GpuReport *from = find_gpu(report, a.pci), *to = find_gpu(report, b.pci);
    if (from && to) return from->links[static_cast<size_t>(to - report.gpus.data())];
  }
  return a.pci == b.pci ? "self" : "?";
}

std::vector<RankReport> survey(RankContext& rank) {
  const auto own = static_cast<size_t>(rank.comm.rank());
  RankReport mine = look_around(rank, share_gpus(gather_gpus(rank))[own].index);
  const auto all = gather_reports(rank.comm, mine);
  measure_copies(rank, mine);
  measure_pairs(rank, mine, all);
  measure_cards(rank, mine, all);
  return gather_reports(rank.comm, mine);
}

}  // namespace lockstep
