// Memory-bound kernels beside memcpy of as many bytes, in turns: `of_memcpy` 1 means that a kernel runs at the speed of
// a copy, which is the limit for all that does not stay in a cache.
//   benchmark_kernels [--benchmark_filter=…] [--benchmark_repetitions=5]
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstring>
#include <memory>

#include "core/cpu/streams.h"
#include "core/step_state.h"
#include "layers/cpu/kernels.h"
#include "layers/ops.h"

using namespace lockstep;

namespace {

using Clock = std::chrono::steady_clock;

/// Zeroed memory for a type, with a state of one full lane where a kernel asks for one.
struct Memory {
  explicit Memory(const Type& type)
      : bytes(type.bytes()), data(static_cast<std::byte*>(std::aligned_alloc(64, bytes + 64 - bytes % 64))) {
    std::memset(data.get(), 0, bytes);
  }
  size_t bytes;
  std::unique_ptr<std::byte, decltype([](std::byte* p) { std::free(p); })> data;
};

template <class OpClass>
void measure(benchmark::State& state, const OpClass& op, const std::vector<Type>& in) {
  const Signature signature{in, op.infer(in)};
  const Kernel kernel = cpu::make(op, signature);
  std::vector<Memory> memory;
  std::vector<Tensor> inputs, outputs;
  size_t traffic = 0;
  const auto add = [&](const std::vector<Type>& types, std::vector<Tensor>& tensors) {
    for (const Type& type : types) {
      memory.emplace_back(type);
      tensors.push_back({memory.back().data.get(), type});
      traffic += type.bytes();
    }
  };
  add(signature.in, inputs);
  add(signature.out, outputs);
  const LaneState lane{.first = 0, .valid = in[0].shape[0]};
  for (Tensor& tensor : inputs)
    if (tensor.type == lane_state_type(1)) std::memcpy(tensor.data, &lane, sizeof lane);
  const Memory workspace(Type{Shape{static_cast<int64_t>(kernel.workspace)}, DType::u8});
  const Args args{inputs, outputs, workspace.data.get(), nullptr};
  const Type half{Shape{static_cast<int64_t>(traffic / 2)}, DType::u8};
  const Memory from(half), to(half);

  InlineStream stream;
  double kernel_seconds = 0, copy_seconds = 0;
  const auto timed = [](auto&& body) {
    const auto start = Clock::now();
    body();
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  for (auto _ : state) {
    copy_seconds += timed([&] {
      std::memcpy(to.data.get(), from.data.get(), from.bytes);
      benchmark::ClobberMemory();
    });
    const double seconds = timed([&] { kernel.run(stream, args); });
    kernel_seconds += seconds;
    state.SetIterationTime(seconds);
  }
  state.counters["of_memcpy"] = copy_seconds / kernel_seconds;
  state.SetBytesProcessed(static_cast<int64_t>(traffic) * state.iterations());
}

/// For images x [N,H,W,C] of one lane.
void add_cases(const std::string& name, const Shape& x) {
  const Type images{x};
  const Window halves = make_window({2, 2}, {2, 2}, Padding::valid, x);
  const Type pooled = MaxPoolOp(halves).infer(std::vector{images})[0];
  const Type places{pooled.shape, DType::u8};
  const Type channels{Shape{x[3]}};
  const auto add = [&](const std::string& kernel, auto op, const std::vector<Type>& in) {
    benchmark::RegisterBenchmark((kernel + "/" + name).c_str(), [op, in](benchmark::State& state) {
      measure(state, op, in);
    })->UseManualTime();
  };
  add("max_pool", MaxPoolOp(halves), {images});
  add("max_pool_grad", MaxPoolGradOp(halves, true, x), {places, pooled, pooled});
  add("relu", ReluOp(), {images});
  add("add", AddOp(), {images, images});
  add("batch_norm", BatchNormOp(1e-3F, true, false), {images, channels, channels, lane_state_type(1)});
  add("adam", UpdateOp(Adam{.beta_1 = 0.9F, .beta_2 = 0.999F, .epsilon = 1e-7F}),
      {Type{Shape{x.elements()}}, Type{Shape{x.elements()}}, step_state_type(), Type{Shape{x.elements()}},
       Type{Shape{x.elements()}}});
}

}  // namespace

int main(int argc, char** argv) {
  add_cases("4x224x224x32", {4, 224, 224, 32});
  add_cases("8x24x24x6", {8, 24, 24, 6});
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
