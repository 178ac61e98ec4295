#include "layers/passes/fuse.h"

#include <algorithm>
#include <cmath>

#include "layers/ops.h"

namespace lockstep {

namespace {

class Fusion {
 public:
  Fusion(Graph& graph, std::span<const Value> keep, const std::function<bool(const std::string&)>& takes)
      : graph_(graph), keep_(keep), takes_(takes) {}

  std::map<std::string, std::string> run() {
    // Pools first: a relu that a pool can take is cheaper there than in the convolution before it.
    each<MaxPoolOp>([this](int pool, const MaxPoolOp& op) { relu_into_pool(pool, op); });
    each<ReluOp>([this](int relu, const ReluOp&) { relu_into_producer(relu, true); });
    each<ActivationOp>([this](int relu, const ActivationOp& op) {
      const Curve& c = op.curve;
      if (c.kind == Curve::Kind::relu && c.slope == 0 && c.threshold == 0)
        relu_into_producer(relu, FusedRelu::up_to(c.top));
    });
    graph_.prune(keep_);
    return std::move(taken_);
  }

 private:
  template <class OpClass, class Function>
  void each(Function function) {
    for (int i = 0; i < static_cast<int>(graph_.nodes().size()); ++i)
      if (const auto* op = dynamic_cast<const OpClass*>(node(i).op.get())) function(i, *op);
  }

  const Node& node(int index) const { return graph_.node(index); }

  /// The node that makes `value`, where it is an OpClass and nobody but one node reads the value.
  template <class OpClass>
  const OpClass* sole_producer(Value value, int& index) const {
    index = graph_.info(value).producer;
    if (index < 0 || graph_.readers(value).size() != 1 || std::ranges::find(keep_, value) != keep_.end())
      return nullptr;
    return dynamic_cast<const OpClass*>(node(index).op.get());
  }

  void relu_into_pool(int pool, const MaxPoolOp& op) {
    int relu = 0;
    if (!sole_producer<ReluOp>(node(pool).in[0], relu)) return;
    taken_[node(relu).name] = node(pool).name;
    graph_.replace(pool, std::make_shared<MaxPoolOp>(op.window, true), {node(relu).in[0]});
  }

  /// A relu with a top goes into norms alone.
  void relu_into_producer(int relu, const FusedRelu& what) {
    if (std::ranges::find(keep_, node(relu).out[0]) != keep_.end()) return;
    const Value x = node(relu).in[0];
    const bool bounded = std::isfinite(what.top);
    int at = 0;
    const auto allowed = [&] { return !bounded && (!takes_ || takes_(node(at).name)); };
    if (const auto* conv = sole_producer<Conv2dOp>(x, at); conv && allowed())
      take(relu, at, std::make_shared<Conv2dOp>(conv->conv, conv->bias, true), node(at).in);
    else if (const auto* dense = sole_producer<DenseOp>(x, at); dense && allowed())
      take(relu, at, std::make_shared<DenseOp>(dense->bias, true), node(at).in);
    else if (const auto* norm = sole_producer<BatchNormOp>(x, at); norm && !norm->relu)
      take(relu, at, norm->fused(what, norm->add), node(at).in);
    else if (const auto* inference = sole_producer<BatchNormInferenceOp>(x, at); inference && !inference->relu)
      take(relu, at, inference->fused(what, inference->add), node(at).in);
    else if (sole_producer<AddOp>(x, at))
      add_relu_into_norm(relu, at, what);
  }

  /// batch_norm → add → relu: the add's other input becomes the norm's residual, if it is made before the norm.
  void add_relu_into_norm(int relu, int add, const FusedRelu& what) {
    for (size_t side = 0; side < 2; ++side) {
      const Value normed = node(add).in[side];
      const Value residual = node(add).in[1 - side];
      int at = 0;
      std::shared_ptr<const Op> joined;
      if (const auto* norm = sole_producer<BatchNormOp>(normed, at))
        joined = norm->relu || norm->add ? nullptr : norm->fused(what, true);
      else if (const auto* inference = sole_producer<BatchNormInferenceOp>(normed, at))
        joined = inference->relu || inference->add ? nullptr : inference->fused(what, true);
      if (!joined || graph_.info(residual).producer >= at) continue;
      std::vector<Value> in = node(at).in;
      in.push_back(residual);
      taken_[node(add).name] = node(at).name;
      take(relu, at, std::move(joined), std::move(in));
      return;
    }
  }

  /// The node `at` becomes `op`, and its first output takes the place of `last`'s.
  void take(int last, int at, std::shared_ptr<const Op> op, std::vector<Value> in) {
    taken_[node(last).name] = node(at).name;
    graph_.replace(at, std::move(op), std::move(in));
    graph_.redirect(node(last).out[0], node(at).out[0]);
  }

  Graph& graph_;
  std::span<const Value> keep_;
  const std::function<bool(const std::string&)>& takes_;
  std::map<std::string, std::string> taken_;
};

}  // namespace

std::map<std::string, std::string> fuse(Graph& graph, std::span<const Value> keep,
                                        const std::function<bool(const std::string&)>& takes) {
  return Fusion(graph, keep, takes).run();
}

}  // namespace lockstep
