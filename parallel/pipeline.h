// Pass: leaves a placed graph what one stage of a pipeline computes, and lets it send and receive the rest.
#pragma once

#include "core/kernel.h"
#include "parallel/mesh.h"
#include "parallel/propagate.h"

namespace lockstep {

/// A copy that kernels leave to be sent, so that they need not wait.
class HandOverOp final : public Op {
 public:
  std::string_view name() const override { return "hand_over"; }
  std::vector<Type> infer(std::span<const Type> in) const override { return {in[0]}; }
  std::vector<Rule> rules() const override { return {}; }
  bool moves() const override { return true; }
};

/// To or from another stage, in every lane.
class PassOp : public Op {
 public:
  PassOp(int stage, Queue queue) : stage(stage), queue_(queue) {}
  std::vector<Rule> rules() const override { return {}; }
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
};

class ReceiveOp final : public PassOp {
 public:
  ReceiveOp(int stage, Queue queue, Type type) : PassOp(stage, queue), type(type) {}
  std::string_view name() const override { return "receive from stage"; }
  std::vector<Type> infer(std::span<const Type>) const override { return {type}; }

  const Type type;
};

/// What one stage has goes to all, once a step; where it is nothing, what was sent has left. Its inputs are there on
/// that stage alone.
class ShareOp final : public Op {
 public:
  ShareOp(int stage, std::vector<Type> types) : stage(stage), types(std::move(types)) {}
  std::string_view name() const override { return "share"; }
  std::vector<Type> infer(std::span<const Type>) const override { return types; }
  std::vector<Rule> rules() const override { return {}; }
  std::string attributes() const override { return "from stage " + std::to_string(stage); }

  const int stage;
  const std::vector<Type> types;
};

/// Keeps the nodes of `stage` (see Section). What another stage reads of them is sent where it is made; what they read
/// of another is received at the same place in the order, which is the same on all stages. `everywhere` goes to all
/// stages. Inputs that nobody here reads are no inputs any more. Value ids stay valid; what is neither made nor
/// received here is made by nobody.
void split_stages(PlacedGraph& placed, int stage, int stages, std::span<const Value> everywhere);

/// Adds the kernels of the operators above. Activations travel over Mesh::along the axis "stage", gradients over
/// Mesh::sums_along it. `mesh` must outlive the kernels.
void add_pipeline_kernels(KernelTable& kernels, const Mesh& mesh);

}  // namespace lockstep
