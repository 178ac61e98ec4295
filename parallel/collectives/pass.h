// What a stage of a pipeline leaves to be sent, sends, and receives, in every lane.
#pragma once

#include "parallel/mesh/mesh_op.h"

namespace lockstep {

/// Kinds of what stages of a pipeline send each other.
inline constexpr std::string_view to_later_stage = "to a later stage", to_earlier_stage = "to an earlier stage";

/// A copy that kernels leave to be sent, so that they need not wait.
class HandOverOp final : public MeshOp {
 public:
  std::string_view name() const override { return "hand_over"; }
  std::vector<Type> infer(std::span<const Type> in) const override { return {in[0]}; }
  Kernel make(const Signature& signature, MeshContext& context) const override;
  std::optional<Traffic> traffic(const Signature&, const Mesh&, Numerics) const override { return std::nullopt; }
  bool each_lane() const override { return true; }
  bool moves() const override { return true; }
};

/// To or from another stage, in every lane.
class PassOp : public MeshOp {
 public:
  PassOp(int stage, Queue queue) : stage(stage), queue_(queue) {}
  bool each_lane() const override { return true; }
  bool moves() const override { return true; }
  Queue queue() const override { return queue_; }
  std::string attributes() const override { return std::to_string(stage); }

  const int stage;  // the other

 private:
  Queue queue_;
};

class SendOp final : public PassOp {
 public:
  using PassOp::PassOp;
  std::string_view name() const override { return "send to stage"; }
  std::vector<Type> infer(std::span<const Type>) const override { return {}; }
  Kernel make(const Signature& signature, MeshContext& context) const override;
  std::optional<Traffic> traffic(const Signature& signature, const Mesh& mesh, Numerics numerics) const override;
};

class ReceiveOp final : public PassOp {
 public:
  ReceiveOp(int stage, Queue queue, Type type) : PassOp(stage, queue), type(type) {}
  std::string_view name() const override { return "receive from stage"; }
  std::vector<Type> infer(std::span<const Type>) const override { return {type}; }
  Kernel make(const Signature& signature, MeshContext& context) const override;
  std::optional<Traffic> traffic(const Signature&, const Mesh&, Numerics) const override { return std::nullopt; }

  const Type type;
};

}  // namespace lockstep
