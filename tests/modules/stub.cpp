// A backend that has a device, but refuses to work on it: what the loader of modules is tested with.
#include "core/error.h"
#include "launch/backends/module_entry.h"

namespace {

using namespace lockstep;

class Stub final : public BackendKind {
 public:
  DeviceStatus status() const override { return {.runtime = "1.0", .devices = 1, .text = "stub, 1 device"}; }
  Versions versions() const override { return {{"stub_library", "4.2"}}; }
  std::string computes_with() const override { return "stub"; }
  std::vector<DeviceInfo> devices() const override { return {{.name = "stub", .pci = "0000:00:00.0"}}; }
  std::unique_ptr<Backend> make(const Place&) const override { throw InputError("the stub computes nothing"); }
  KernelTable kernels(Backend&, const KernelOptions&, std::shared_ptr<EngineChoices>) const override { return {}; }
};

}  // namespace

const BackendKind* lockstep_backend(const char* version) {
  static const Stub kind;
  return same_version(version) ? &kind : nullptr;
}
