// The operators that placing a graph on a mesh adds to it: those that move data between ranks, and those beside them.
// One file each in this folder. Their kernels are made of streams' and communicators' calls, the same on every backend.
// One rank's thread makes and runs them.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <typeindex>
#include <vector>

#include "core/backend.h"
#include "core/graph/kernel.h"
#include "parallel/mesh/mesh.h"

namespace lockstep {

/// What the kernels of a plan are made with, and what several of them use together. What it refers to must outlive
/// them.
class MeshContext {
 public:
  /// `kernels` are the backend's; `largest` is the largest bucket's floats.
  MeshContext(const Mesh& mesh, Backend& backend, const KernelTable& kernels, Numerics numerics, size_t largest)
      : mesh(mesh), backend(backend), kernels(kernels), numerics(numerics), largest(largest) {}

  const Mesh& mesh;
  Backend& backend;
  const KernelTable& kernels;
  const Numerics numerics;
  const size_t largest;

  /// The one Shared of this plan, made from the context when it is first asked for.
  template <class Shared>
  std::shared_ptr<Shared> shared() {
    auto& one = shared_[typeid(Shared)];
    if (!one) one = std::make_shared<Shared>(*this);
    return std::static_pointer_cast<Shared>(one);
  }

 private:
  std::map<std::type_index, std::shared_ptr<void>> shared_;
};

/// What a rank sends in one run of an operator.
struct Traffic {
  std::string kind;            // "halo exchange", "all-reduce", …
  std::vector<int> axes = {};  // of the mesh
  size_t bytes = 0;            // to all others
  size_t times = 0;            // exchanges that come one after the other
};

class MeshOp : public Op {
 public:
  /// They are placed already.
  std::vector<Rule> rules() const override { return {}; }
  virtual Kernel make(const Signature& signature, MeshContext& context) const = 0;
  /// None where nothing moves. In fast mode a sum over the first axis is the library's: counted is what the best
  /// possible one would send.
  virtual std::optional<Traffic> traffic(const Signature& signature, const Mesh& mesh, Numerics numerics) const = 0;
  /// Whether it runs once a lane; else once a step.
  virtual bool each_lane() const { return false; }
};

/// The backend's kernels, and those of all operators here.
KernelTable with_mesh_ops(const Mesh& mesh, Backend& backend, const KernelTable& kernels, Numerics numerics,
                          size_t largest);

}  // namespace lockstep
