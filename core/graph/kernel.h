// Kernels: made once for fixed shapes, then run at every step; they never allocate. And the table that finds them.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <typeindex>
#include <unordered_map>
#include <vector>

#include "core/graph/op.h"
#include "core/stream.h"

namespace lockstep {

/// What a kernel is called with. The same addresses at each step for the same lane.
struct Args {
  std::span<const Tensor> in, out;
  std::byte* workspace = nullptr;  // `Kernel::workspace` bytes, undefined contents, free for others afterwards
  std::byte* packed = nullptr;     // `Kernel::packed` bytes that only this kernel touches, kept between steps
  int lane = 0;                    // the lane's index inside its rank
  size_t slot_bytes = 0;           // distance between the slots of lane sums (Role::sum), see core/plan/memory.h
};

struct Kernel {
  size_t workspace = 0;
  size_t packed = 0;
  /// Enqueues the work. Inputs and outputs have the types of the Signature.
  std::function<void(Stream&, const Args&)> run = {};
  /// Called before `run` whenever parameters have changed, once for all lanes; may read only inputs that are
  /// parameters and writes only `packed` (weights in the layout that the library wants). Empty where not needed.
  std::function<void(Stream&, const Args&)> prepare = {};
  /// Whether `run` enqueues the same work at every call, so that a device may record it and replay the record.
  bool capturable = true;
};

/// Maps an operator's class to the function that makes its kernel. Built once, then only read.
class KernelTable {
 public:
  using Make = std::function<Kernel(const Op&, const Signature&)>;

  template <class OpClass, class Function>
  void add(Function make) {
    makers_[typeid(OpClass)] = [make = std::move(make)](const Op& op, const Signature& signature) {
      return make(static_cast<const OpClass&>(op), signature);
    };
  }
  /// Those of a whole family of operators, which derive from one class: where no kernel of their own was added.
  template <class Base, class Function>
  void add_all(Function make) {
    family_ = [make = std::move(make)](const Op& op, const Signature& signature) -> std::optional<Kernel> {
      const auto* const member = dynamic_cast<const Base*>(&op);
      return member ? std::optional(make(*member, signature)) : std::nullopt;
    };
  }
  /// Throws Error that names the operator when the table has no kernel for it.
  Kernel make(const Op& op, const Signature& signature) const;

 private:
  std::unordered_map<std::type_index, Make> makers_;
  std::function<std::optional<Kernel>(const Op&, const Signature&)> family_;
};

}  // namespace lockstep
