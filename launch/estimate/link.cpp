#include "launch/estimate/link.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/error.h"
#include "launch/host/topology.h"

namespace lockstep {

Link parse_link(const std::string& text) {
  const char *at = text.data(), *const end = at + text.size();
  double microseconds = 0, gigabytes = 0;
  const auto read = [&](double& number) {
    const auto [stopped, error] = std::from_chars(at, end, number);
    at = stopped;
    return error == std::errc{} && std::isfinite(number);
  };
  const bool reads = read(microseconds) && at != end && *at++ == ',' && read(gigabytes) && at == end;
  if (!reads || microseconds < 0 || gigabytes <= 0)
    throw InputError(
        "link '{}', expected LATENCY_US,GB_PER_S: microseconds from 0, a bandwidth above 0, such as 5,12.5", text);
  return {.latency = 1e-6 * microseconds, .bandwidth = 1e9 * gigabytes};
}

Link measure_link(Runtime& runtime, int ranks) {
  if (runtime.distributed())
    throw InputError("a link is measured between threads of one process: start it without mpirun");
  Link link;
  // All pairs at once: what they share, cores or memory, they also share in a step.
  runtime.run(std::max(ranks, 2), [&](RankContext& rank) {
    const auto reports = survey(rank);
    if (rank.comm.rank() == 0)
      link = {
          .latency = reports[0].pairs.at(0).latency, .bandwidth = reports[0].pairs.at(0).bandwidth, .measured = true};
  });
  return link;
}

}  // namespace lockstep
