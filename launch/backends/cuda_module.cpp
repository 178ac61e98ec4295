// CUDA as programs have it: a module, which is loaded where there is a driver. Elsewhere NVIDIA's libraries, some 900
// MB, are not even looked at, and need not be there.
#include <fmt/format.h>

#include <cstdlib>

#include "core/error.h"
#include "core/module.h"
#include "launch/backends/backends.h"
#include "launch/backends/module_entry.h"

namespace lockstep {

namespace {

/// Takes the place of a backend that is not loaded.
class NotLoaded final : public BackendKind {
 public:
  explicit NotLoaded(std::string why) : why_(std::move(why)) {}
  DeviceStatus status() const override { return {.text = why_}; }
  Versions versions() const override { return {}; }
  std::string computes_with() const override { return "nothing"; }
  std::unique_ptr<Backend> make(const Place&) const override { throw InputError("no CUDA: {}", why_); }
  KernelTable kernels(Backend&, const KernelOptions&, std::shared_ptr<EngineChoices>) const override {
    throw InputError("no CUDA: {}", why_);
  }

 private:
  std::string why_;
};

const BackendKind& not_loaded(std::string why) { return *new NotLoaded(std::move(why)); }

const BackendKind& load() {
  const char* chosen = std::getenv("LOCKSTEP_CUDA_MODULE");
  const std::filesystem::path file =
      chosen && *chosen ? std::filesystem::absolute(chosen) : module_folder() / "liblockstep_cuda.so";
  if (!std::filesystem::exists(file)) return not_loaded(fmt::format("no module, {} is not there", file.string()));
  if (const Module driver = load_module("libcuda.so.1"); !driver.handle)
    return not_loaded(fmt::format("module not loaded, no driver: {}", driver.why));
  const Module module = load_module(file);
  if (!module.handle) return not_loaded(fmt::format("module not loaded: {}", module.why));
  const auto entry = reinterpret_cast<decltype(&lockstep_backend)>(module.function(module_entry));
  const BackendKind* kind = entry ? entry(LOCKSTEP_VERSION) : nullptr;
  if (!kind) return not_loaded(fmt::format("{} is no module of Lockstep {}", file.string(), LOCKSTEP_VERSION));
  return *kind;
}

}  // namespace

const BackendKind& cuda_backend() {
  static const BackendKind& kind = load();
  return kind;
}

}  // namespace lockstep
