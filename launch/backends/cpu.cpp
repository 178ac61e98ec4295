#include "launch/backends/backends.h"
#include "layers/cpu/kernels.h"
#include "layers/cpu/library.h"

namespace lockstep {

namespace {

class Cpu final : public BackendKind {
 public:
  DeviceStatus status() const override { return {.devices = 1, .text = "always there"}; }
  Versions versions() const override { return {{"onednn", onednn_version()}, {"onednn_isa", onednn_isa()}}; }
  std::string computes_with() const override { return "oneDNN " + onednn_version() + " on " + onednn_isa(); }
  std::unique_ptr<Backend> make(const Place& place) const override { return make_cpu_backend(place.threads); }
  KernelTable kernels(Backend&, const KernelOptions&, std::shared_ptr<EngineChoices>) const override {
    return cpu_kernels();
  }
};

}  // namespace

const BackendKind& cpu_backend() {
  static const Cpu kind;
  return kind;
}

}  // namespace lockstep
