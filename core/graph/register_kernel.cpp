#include "core/graph/register_kernel.h"

#include <fmt/ranges.h>

#include <map>

#include "core/error.h"

namespace lockstep {

namespace {

using Kernels = std::map<std::type_index, KernelTable::Make>;

/// By backend.
std::map<std::string, Kernels>& registered() {
  static std::map<std::string, Kernels> kernels{{"cpu", {}}, {"cuda", {}}};
  return kernels;
}

}  // namespace

void register_kernel(const std::string& backend, std::type_index op, KernelTable::Make make) {
  const auto found = registered().find(backend);
  if (found == registered().end()) throw unknown("backend", backend, std::vector<std::string>{"cpu", "cuda"});
  if (!found->second.emplace(op, std::move(make)).second)
    throw InputError("the operator has a kernel for the backend {} already (class {})", backend, op.name());
}

KernelTable::Make registered_kernels(const std::string& backend) {
  return [backend](const Op& op, const Signature& signature) {
    std::vector<std::string> others;
    for (const auto& [name, kernels] : registered()) {
      const auto found = kernels.find(typeid(op));
      if (found == kernels.end()) continue;
      if (name == backend) return found->second(op, signature);
      others.push_back(name);
    }
    throw InputError("no kernel of the operator '{}' for the backend {}{}; register_kernel adds one", op.name(),
                     backend, others.empty() ? "" : fmt::format(", only for {}", fmt::join(others, " and ")));
  };
}

}  // namespace lockstep
