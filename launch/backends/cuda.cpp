// CUDA with NCCL as one backend: a part of the module, or of the emulator.
#include "core/cuda/cuda.h"
#include "launch/backends/module_entry.h"
#include "layers/cuda/kernels.h"
#include "parallel/comm/nccl/nccl.h"

namespace lockstep {

namespace {

class Cuda final : public BackendKind {
 public:
  DeviceStatus status() const override { return cuda_status(); }
  Versions versions() const override {
    return {{"cudnn", cudnn_version()}, {"cublas", cublas_version()}, {"nccl", nccl_version()}};
  }
  std::string computes_with() const override { return "cuDNN " + cudnn_version() + ", cuBLAS " + cublas_version(); }
  std::vector<DeviceInfo> devices() const override { return cuda_devices(); }
  DeviceLink link(int a, int b) const override { return cuda_link(a, b); }
  void enable_peer(int peer) const override { cuda_enable_peer(peer); }
  std::unique_ptr<Backend> make(const Place& place) const override { return make_cuda_backend(place.device); }
  KernelTable kernels(Backend& backend, const KernelOptions& options,
                      std::shared_ptr<EngineChoices> engines) const override {
    return cuda_kernels(backend, options, std::move(engines));
  }
  bool communicates() const override { return nccl_version() != "none"; }
  std::unique_ptr<Communicator> communicator(Communicator& control) const override { return make_nccl(control); }
};

}  // namespace
}  // namespace lockstep

const lockstep::BackendKind* lockstep_backend(const char* version) {
  static const lockstep::Cuda kind;
  return lockstep::same_version(version) ? &kind : nullptr;
}
