#include "launch/host/binding.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <hwloc.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <iterator>

#include "core/handle.h"

namespace lockstep {

namespace {

/// One cpu_set_t holds 1024 cores; the largest machines have more.
using CoreBits = std::array<cpu_set_t, 8>;
constexpr int most_cores = static_cast<int>(sizeof(CoreBits)) * 8;

using Bitmap = Handle<hwloc_bitmap_t, hwloc_bitmap_free>;

Bitmap bitmap_of(const Cores& cores) {
  Bitmap bits(hwloc_bitmap_alloc());
  for (const int core : cores) hwloc_bitmap_set(bits.get(), static_cast<unsigned>(core));
  return bits;
}

bool move_to(const Cores& cores) {
  CoreBits bits{};
  for (const int core : cores) CPU_SET_S(static_cast<size_t>(core), sizeof bits, bits.data());
  return ::sched_setaffinity(0, sizeof bits, bits.data()) == 0;
}

/// 0 where hwloc knows no object of the kind, or knows them at several levels.
int count(hwloc_topology_t topology, hwloc_obj_type_t type) {
  return topology ? std::max(0, hwloc_get_nbobjs_by_type(topology, type)) : 0;
}

}  // namespace

std::string compact(const Cores& cores) {
  std::vector<std::string> ranges;
  for (size_t begin = 0, end = 0; begin < cores.size(); begin = end) {
    for (end = begin + 1; end < cores.size() && cores[end] == cores[end - 1] + 1;) ++end;
    const int first = cores[begin], last = cores[end - 1];
    ranges.push_back(first == last ? fmt::format("{}", first) : fmt::format("{}-{}", first, last));
  }
  return ranges.empty() ? "none" : fmt::format("{}", fmt::join(ranges, ","));
}

Cores usable_cores() {
  CoreBits bits{};
  Cores cores;
  if (::sched_getaffinity(0, sizeof bits, bits.data()) != 0) return cores;
  for (int core = 0; core < most_cores; ++core)
    if (CPU_ISSET_S(static_cast<size_t>(core), sizeof bits, bits.data())) cores.push_back(core);
  return cores;
}

void Machine::Destroy::operator()(hwloc_topology* topology) const { hwloc_topology_destroy(topology); }

Machine::Machine() {
  hwloc_topology_t topology = nullptr;
  if (hwloc_topology_init(&topology) != 0) return;
  topology_.reset(topology);
  hwloc_topology_set_io_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
  // Where hwloc has plugins for them, naming a GPU's software devices would start OpenCL, CUDA and NVML.
  hwloc_topology_set_type_filter(topology, HWLOC_OBJ_OS_DEVICE, HWLOC_TYPE_FILTER_KEEP_NONE);
  // The whole machine, whatever part of it a container may use.
  hwloc_topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
  if (hwloc_topology_load(topology) != 0) topology_.reset();
}

const Machine& Machine::here() {
  static const Machine machine;
  return machine;
}

Cores Machine::near(const std::string& pci) const {
  Cores cores;
  if (!topology_) return cores;
  const hwloc_obj_t device = hwloc_get_pcidev_by_busidstring(topology_.get(), pci.c_str());
  const hwloc_obj_t place = device ? hwloc_get_non_io_ancestor_obj(topology_.get(), device) : nullptr;
  if (!place || !place->cpuset) return cores;
  for (int core = hwloc_bitmap_first(place->cpuset); core >= 0 && core < most_cores;
       core = hwloc_bitmap_next(place->cpuset, core))
    cores.push_back(core);
  return cores;
}

std::vector<int> Machine::numa_nodes(const Cores& cores) const {
  std::vector<int> nodes;
  const Bitmap wanted = bitmap_of(cores);
  for (int i = 0; i < count(topology_.get(), HWLOC_OBJ_NUMANODE); ++i) {
    const hwloc_obj_t node = hwloc_get_obj_by_type(topology_.get(), HWLOC_OBJ_NUMANODE, static_cast<unsigned>(i));
    if (hwloc_bitmap_intersects(node->cpuset, wanted.get())) nodes.push_back(static_cast<int>(node->os_index));
  }
  std::ranges::sort(nodes);
  return nodes;
}

int Machine::packages() const { return count(topology_.get(), HWLOC_OBJ_PACKAGE); }
int Machine::cores() const { return count(topology_.get(), HWLOC_OBJ_CORE); }
int Machine::hardware_threads() const { return count(topology_.get(), HWLOC_OBJ_PU); }
int Machine::numa_nodes() const { return count(topology_.get(), HWLOC_OBJ_NUMANODE); }
uint64_t Machine::memory() const { return topology_ ? hwloc_get_root_obj(topology_.get())->total_memory : 0; }

std::string bind_within(const Cores& cores, const std::string& place) {
  const Cores usable = usable_cores();
  Cores both;
  std::ranges::set_intersection(usable, cores, std::back_inserter(both));
  if (both.empty())
    return fmt::format("left on cores {}: none of them is near {} ({})", compact(usable), place, compact(cores));
  if (both == usable) return fmt::format("left on cores {}: all are near {}", compact(usable), place);
  if (!move_to(both))
    return fmt::format("left on cores {}: binding to {} near {} failed: {}", compact(usable), compact(both), place,
                       std::strerror(errno));
  return fmt::format("bound to cores {} near {}", compact(both), place);
}

std::string bind_near(const DeviceInfo& device) {
  const Cores near = Machine::here().near(device.pci);
  if (near.empty())
    return fmt::format("left on cores {}: hwloc does not know the device {}", compact(usable_cores()), device.pci);
  return bind_within(near, fmt::format("GPU {} ({})", device.index, device.pci));
}

}  // namespace lockstep
