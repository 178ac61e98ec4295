// Which cores are near a GPU, and binding a thread to them. Any thread may call; what is bound is the calling thread
// and the threads that it starts later.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/device.h"

struct hwloc_topology;

namespace lockstep {

/// Cores as the system numbers them (hardware threads, where a core has several), ascending.
using Cores = std::vector<int>;

/// "0-3,8"; "none".
std::string compact(const Cores& cores);

/// Those that the system lets the calling thread run on.
Cores usable_cores();

/// What hwloc knows of this machine; nothing (0, empty) where it cannot read it. Read once, then constant.
class Machine {
 public:
  Machine();
  static const Machine& here();

  /// Cores beside the PCI bus that the device "0000:18:00.0" is on; empty where there is no such device.
  Cores near(const std::string& pci) const;
  /// The memory nodes that these cores are part of, ascending.
  std::vector<int> numa_nodes(const Cores& cores) const;
  int packages() const, cores() const, hardware_threads() const, numa_nodes() const;
  uint64_t memory() const;  // bytes

 private:
  struct Destroy {
    void operator()(hwloc_topology* topology) const;
  };
  std::unique_ptr<hwloc_topology, Destroy> topology_;
};

/// Binds the calling thread to those of `cores` that it may run on already, and says for the log what was done; changes
/// nothing where there are none. `place` is what they are near to.
std::string bind_within(const Cores& cores, const std::string& place);

/// Binds the calling thread to the cores near the device: call before threads, streams and buffers are made that should
/// be there. Returns what was done, as bind_within does.
std::string bind_near(const DeviceInfo& device);

}  // namespace lockstep
