// One kind of backend, as those who start a run see it: what the machine has of it, and how a rank's part is made.
// Constant objects that live until the process ends; any thread may ask.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/backend.h"
#include "core/device.h"
#include "core/graph/kernel.h"
#include "layers/engines.h"
#include "parallel/comm/communicator.h"

namespace lockstep {

/// What a rank computes with: one device, or on the CPU some threads.
struct Place {
  int device = 0, threads = 1;
};

class BackendKind {
 public:
  using Versions = std::vector<std::pair<std::string, std::string>>;

  virtual ~BackendKind() = default;

  virtual DeviceStatus status() const = 0;
  /// The libraries that its bits depend on, by name, with their versions; empty text where one is not there.
  virtual Versions versions() const = 0;
  /// "oneDNN 2.6.3 on avx2": the versions as people read them, without the device.
  virtual std::string computes_with() const = 0;

  /// Of the backends that have devices beside the host's cores.
  virtual std::vector<DeviceInfo> devices() const { return {}; }
  /// How device `a` reaches the memory of device `b`.
  virtual DeviceLink link(int a, int b) const { return a == b ? DeviceLink::self : DeviceLink::none; }
  /// Lets kernels on the calling thread's device reach the memory of device `peer`, where `link` is not none.
  virtual void enable_peer(int peer) const { static_cast<void>(peer); }

  /// For the calling thread, which becomes its rank's thread. Throws InputError that says why where there is no such
  /// device.
  virtual std::unique_ptr<Backend> make(const Place& place) const = 0;
  /// The kernels of one rank, for a backend that `make` made and that must outlive all of them. Choices that `engines`
  /// holds are used again; those that are made are added.
  virtual KernelTable kernels(Backend& backend, const KernelOptions& options,
                              std::shared_ptr<EngineChoices> engines) const = 0;
  /// Whether it has a library that moves data between ranks with a device each: then `communicator` makes one, of the
  /// ranks of `control`, which all call together and which must outlive it.
  virtual bool communicates() const { return false; }
  virtual std::unique_ptr<Communicator> communicator(Communicator& control) const {
    static_cast<void>(control);
    return nullptr;
  }
};

}  // namespace lockstep
