#include "layers/cuda/cudnn/convolution.h"

#include <cudnn_frontend.h>

#include <chrono>

#include "core/cuda/streams.h"
#include "core/error.h"
#include "core/log.h"

namespace lockstep::cuda {

namespace {

namespace fe = cudnn_frontend;
using fe::graph::Graph;
using Attributes = std::shared_ptr<fe::graph::Tensor_attributes>;
enum Uid : int64_t { x_uid = 1, w_uid, y_uid, bias_uid };

fe::DataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return fe::DataType_t::FLOAT;
    case DType::f16:
      return fe::DataType_t::HALF;
    case DType::bf16:
      return fe::DataType_t::BFLOAT16;
    default:
      throw Error("no convolution of {}", name_of(dtype));
  }
}

/// [A,H,W,B] in memory, which cuDNN names A, B, H, W.
Attributes channels_last(const char* name, Uid uid, const Shape& s, DType dtype) {
  return std::make_shared<fe::graph::Tensor_attributes>(fe::graph::Tensor_attributes()
                                                            .set_name(name)
                                                            .set_uid(uid)
                                                            .set_data_type(type_of(dtype))
                                                            .set_dim({s[0], s[3], s[1], s[2]})
                                                            .set_stride({s[1] * s[2] * s[3], 1, s[2] * s[3], s[3]}));
}

std::vector<int64_t> list(std::array<int64_t, 2> pair) { return {pair[0], pair[1]}; }

template <class Node>
Node convolution_node(const ConvolutionSpec& spec) {
  return Node()
      .set_pre_padding(list(spec.pad_before))
      .set_post_padding(list(spec.pad_after))
      .set_stride(list(spec.stride))
      .set_dilation(list(spec.dilation));
}

void describe(Graph& graph, const ConvolutionSpec& spec) {
  graph.set_io_data_type(type_of(spec.images))
      .set_intermediate_data_type(fe::DataType_t::FLOAT)
      .set_compute_data_type(fe::DataType_t::FLOAT);
  const auto x = channels_last("x", x_uid, spec.x, spec.images), w = channels_last("w", w_uid, spec.w, spec.weights),
             y = channels_last("y", y_uid, spec.y, spec.images);
  const auto output = [](const Attributes& made, const Attributes& wanted) {
    made->set_output(true)
        .set_uid(wanted->get_uid())
        .set_data_type(wanted->get_data_type())
        .set_dim(wanted->get_dim())
        .set_stride(wanted->get_stride());
  };
  switch (spec.pass) {
    case ConvolutionSpec::Pass::forward: {
      auto made = graph.conv_fprop(graph.tensor(*x), graph.tensor(*w),
                                   convolution_node<fe::graph::Conv_fprop_attributes>(spec));
      if (spec.bias) {
        made->set_dim(y->get_dim()).set_stride(y->get_stride());
        const auto bias = channels_last("bias", bias_uid, Shape{1, 1, 1, spec.y[3]}, DType::f32);
        made = graph.pointwise(made, graph.tensor(*bias),
                               fe::graph::Pointwise_attributes().set_mode(fe::PointwiseMode_t::ADD));
      }
      return output(made, y);
    }
    case ConvolutionSpec::Pass::data_grad:
      return output(graph.conv_dgrad(graph.tensor(*y), graph.tensor(*w),
                                     convolution_node<fe::graph::Conv_dgrad_attributes>(spec)),
                    x);
    case ConvolutionSpec::Pass::weight_grad:
      return output(graph.conv_wgrad(graph.tensor(*y), graph.tensor(*x),
                                     convolution_node<fe::graph::Conv_wgrad_attributes>(spec)),
                    w);
  }
}

size_t bytes_of(const Shape& shape, DType dtype) { return Type{shape, dtype}.bytes(); }

class CudnnConvolution final : public Convolution {
 public:
  CudnnConvolution(const SharedContext& context, const ConvolutionSpec& spec) : context_(context), spec_(spec) {}

  /// Empty where an engine was found and built, else why not.
  std::string build() {
    describe(graph_, spec_);
    auto status = graph_.validate();
    if (status.is_good()) status = graph_.build_operation_graph(context_->cudnn.get());
    if (status.is_good()) status = graph_.create_execution_plans({fe::HeurMode_t::A, fe::HeurMode_t::FALLBACK});
    if (status.is_bad()) return status.get_message();
    // Sums in 16 bits would not be what --precision says.
    std::vector<fe::NumericalNote_t> unwanted{fe::NumericalNote_t::REDUCED_PRECISION_REDUCTION};
    if (context_->options.deterministic) unwanted.push_back(fe::NumericalNote_t::NONDETERMINISTIC);
    if (spec_.images == DType::f32 && !context_->options.tf32) {
      unwanted.push_back(fe::NumericalNote_t::TENSOR_CORE);
      unwanted.push_back(fe::NumericalNote_t::DOWN_CONVERT_INPUTS);
    }
    graph_.deselect_numeric_notes(unwanted);
    return choose();
  }

  size_t workspace() const override { return static_cast<size_t>(workspace_); }

  void run(Stream& stream, const std::byte* x, const std::byte* w, const std::byte* y, const std::byte* bias,
           std::byte* workspace) override {
    run_plan(plan_, stream, x, w, y, bias, workspace);
  }

 private:
  std::string choose() {
    const std::string key = spec_.str() + (context_->options.tf32 ? " tf32" : "");
    const std::string recorded = context_->engines->find(key);
    const bool first_is_best = context_->options.deterministic || !recorded.empty();
    constexpr size_t most_timed = 8;
    std::vector<int64_t> candidates;
    std::string why = "cuDNN offers no engine";
    const int64_t count = graph_.get_execution_plan_count();
    for (int64_t i = 0; i < count && candidates.size() < (first_is_best ? 1 : most_timed); ++i) {
      if (!recorded.empty() && name(i) != recorded) continue;
      if (auto status = graph_.build_plan_at_index(i); status.is_good())
        candidates.push_back(i);
      else
        why = status.get_message();
    }
    if (candidates.empty() && !recorded.empty())
      throw InputError("'{}' was computed by engine {}, which this cuDNN ({}) does not offer here", key, recorded,
                       cudnn_version());
    if (candidates.empty()) return why;
    plan_ = candidates.size() == 1 ? candidates[0] : fastest(candidates);
    workspace_ = graph_.get_workspace_size_plan_at_index(plan_);
    context_->engines->keep(key, name(plan_));
    return {};
  }

  std::string name(int64_t plan) const {
    std::string text;
    if (auto status = graph_.get_plan_name_at_index(plan, text); status.is_bad())
      throw Error("cuDNN gives no name for a plan: {}", status.get_message());
    return text;
  }

  int64_t fastest(const std::vector<int64_t>& candidates) {
    int64_t most = 0;
    for (int64_t plan : candidates) most = std::max(most, graph_.get_workspace_size_plan_at_index(plan));
    const Arena x(context_->backend, bytes_of(spec_.x, spec_.images)),
        w(context_->backend, bytes_of(spec_.w, spec_.weights)), y(context_->backend, bytes_of(spec_.y, spec_.images)),
        bias(context_->backend, bytes_of({spec_.y[3]}, DType::f32)),
        scratch(context_->backend, static_cast<size_t>(most));
    const auto stream = context_->backend.compute_stream();
    // Replayed from a record, so that the time of small kernels is theirs and not the host's.
    const auto seconds = [&](int64_t plan) {
      const auto run_once = [&] { run_plan(plan, *stream, x.data(), w.data(), y.data(), bias.data(), scratch.data()); };
      run_once();  // loads what it needs
      stream->synchronize();
      const auto replay = context_->backend.capture(*stream, [&] {
        for (int i = 0; i < 10; ++i) run_once();
      });
      double best = std::numeric_limits<double>::infinity();
      for (int i = 0; i < 4; ++i) {  // the first one warms up
        const auto start = std::chrono::steady_clock::now();
        replay();
        stream->synchronize();
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      }
      return best;
    };
    int64_t best = candidates[0];
    double best_seconds = std::numeric_limits<double>::infinity();
    for (int64_t plan : candidates) {
      try {
        if (const double taken = seconds(plan); taken < best_seconds) {
          best = plan;
          best_seconds = taken;
        }
      } catch (const Error& error) {
        log().warn("engine {} is skipped: {}", name(plan), error.what());
      }
    }
    return best;
  }

  void run_plan(int64_t plan, Stream& stream, const std::byte* x, const std::byte* w, const std::byte* y,
                const std::byte* bias, std::byte* workspace) {
    check(cudnnSetStream(context_->cudnn.get(), native(stream)), "cudnnSetStream");
    const auto pointer = [](const std::byte* memory) { return const_cast<std::byte*>(memory); };
    std::unordered_map<int64_t, void*> tensors{{x_uid, pointer(x)}, {w_uid, pointer(w)}, {y_uid, pointer(y)}};
    if (spec_.bias) tensors[bias_uid] = pointer(bias);
    if (auto status = graph_.execute_plan_at_index(context_->cudnn.get(), tensors, workspace, plan); status.is_bad())
      throw Error("cuDNN failed in {}: {}", spec_.str(), status.get_message());
  }

  SharedContext context_;
  ConvolutionSpec spec_;
  Graph graph_;
  int64_t plan_ = 0, workspace_ = 0;
};

}  // namespace

std::string ConvolutionSpec::str() const {
  constexpr std::array<const char*, 3> passes{"forward", "data_grad", "weight_grad"};
  return fmt::format(
      "conv2d {} {} {} stride {}x{} pad {}x{}/{}x{}{}{}", passes[static_cast<size_t>(pass)], Type{x, images}.str(),
      Type{w, weights}.str(), stride[0], stride[1], pad_before[0], pad_before[1], pad_after[0], pad_after[1],
      dilation == std::array<int64_t, 2>{1, 1} ? "" : fmt::format(" dilation {}x{}", dilation[0], dilation[1]),
      bias ? " +bias" : "");
}

std::shared_ptr<Convolution> Convolution::make(const SharedContext& context, const ConvolutionSpec& spec,
                                               std::string& why) {
  auto made = std::make_shared<CudnnConvolution>(context, spec);
  why = made->build();
  return why.empty() ? made : nullptr;
}

}  // namespace lockstep::cuda
