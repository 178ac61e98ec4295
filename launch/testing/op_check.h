// For tests of operators, Lockstep's own and those of programs: runs one operator's kernel on owned buffers, and checks
// gradients by finite differences. Header-only, of no test framework; everything runs on the calling thread.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/graph/graph.h"
#include "core/graph/kernel.h"
#include "launch/testing/test_backend.h"

namespace lockstep::test {

/// A tensor that owns its data, aligned as arenas are, with guard bytes after the end. Copies are deep.
class Buffer {
 public:
  Buffer() = default;
  /// `fill` is every byte's value; 0xFF makes NaNs, so that an element that nobody writes is seen.
  explicit Buffer(Type type, unsigned char fill = 0) : type_(type), bytes_(type.bytes() + guard, std::byte{fill}) {
    std::fill(bytes_.end() - guard, bytes_.end(), guard_byte);
  }

  const Type& type() const { return type_; }
  const Shape& shape() const { return type_.shape; }
  Tensor tensor() const { return {const_cast<std::byte*>(bytes_.data()), type_}; }
  template <class T = float>
  std::span<T> as() {
    return {reinterpret_cast<T*>(bytes_.data()), type_.bytes() / sizeof(T)};
  }
  template <class T = float>
  std::span<const T> as() const {
    return {reinterpret_cast<const T*>(bytes_.data()), type_.bytes() / sizeof(T)};
  }
  float& operator[](size_t i) { return as()[i]; }
  float operator[](size_t i) const { return as()[i]; }
  /// The same bytes as another type.
  Buffer reshaped(Type type) const {
    if (type.bytes() != type_.bytes()) throw Error("cannot see {} as {}", type_.str(), type.str());
    Buffer copy = *this;
    copy.type_ = type;
    return copy;
  }
  bool guard_intact() const {
    return std::all_of(bytes_.end() - guard, bytes_.end(), [](std::byte b) { return b == guard_byte; });
  }
  /// The data and the guard after it.
  std::span<std::byte> all() { return bytes_; }

 private:
  static constexpr ptrdiff_t guard = 64;
  static constexpr std::byte guard_byte{0xA5};
  template <class T>
  struct Aligned {
    using value_type = T;
    T* allocate(size_t n) { return static_cast<T*>(::operator new (n * sizeof(T), std::align_val_t{64})); }
    void deallocate(T* memory, size_t) { ::operator delete (memory, std::align_val_t{64}); }
    bool operator==(const Aligned&) const = default;
  };

  Type type_{Shape{0}, DType::u8};
  std::vector<std::byte, Aligned<std::byte>> bytes_;
};

/// Uniform floats in [low, high).
inline Buffer uniform(Shape shape, unsigned seed, float low = -1, float high = 1) {
  Buffer buffer(Type{shape});
  std::mt19937 bits(seed);
  for (float& x : buffer.as()) x = low + (high - low) * static_cast<float>(bits() >> 8) * 0x1p-24F;
  return buffer;
}
/// Floats that are integers in [low, high]: their sums and products are exact.
inline Buffer integers(Shape shape, unsigned seed, int low = -4, int high = 4) {
  Buffer buffer(Type{shape});
  std::mt19937 bits(seed);
  for (float& x : buffer.as())
    x = static_cast<float>(low + static_cast<int>(bits() % static_cast<unsigned>(high - low + 1)));
  return buffer;
}
template <class T = float>
Buffer filled(Type type, const std::vector<T>& values) {
  Buffer buffer(type);
  if (values.size() != buffer.as<T>().size()) throw Error("{} values for {}", values.size(), type.str());
  std::copy(values.begin(), values.end(), buffer.as<T>().begin());
  return buffer;
}
/// A u8 tensor that holds the struct (StepState, LaneState).
template <class State>
Buffer state_buffer(const State& state) {
  Buffer buffer(Type{Shape{1, sizeof(State)}, DType::u8});
  std::memcpy(buffer.tensor().data, &state, sizeof(State));
  return buffer;
}

/// The kernel as a plan has it: none for a view, whose output is its input's bytes.
inline Kernel make_kernel(const KernelTable& kernels, const Op& op, const Signature& signature) {
  return op.reuse() == Reuse::view ? Kernel{} : kernels.make(op, signature);
}

/// Runs `kernel` of `op` on copies of `in`. With `in_place`, output 0 lies on input 0. Outputs and workspace start as
/// NaNs. Throws Error where it wrote past an end.
inline std::vector<Buffer> run_kernel(const Kernel& kernel, const Op& op, const Signature& signature,
                                      std::vector<Buffer> in, bool in_place = false) {
  std::vector<Buffer> out;
  for (const Type& type : signature.out) out.emplace_back(type, 0xFF);
  if (op.reuse() == Reuse::view) out[0] = in[0].reshaped(signature.out[0]);
  const auto bytes = [](size_t n) { return Type{Shape{static_cast<int64_t>(n)}, DType::u8}; };
  Buffer workspace(bytes(kernel.workspace), 0xFF), packed(bytes(kernel.packed));
  std::vector<Buffer*> buffers;
  for (Buffer& buffer : in) buffers.push_back(&buffer);
  for (Buffer& buffer : out) buffers.push_back(&buffer);
  buffers.insert(buffers.end(), {&workspace, &packed});

  // On the backend under test, in its memory.
  auto& [backend, kernels, stream] = test_backend();
  std::vector<Arena> memory;
  std::vector<Tensor> tensors;
  for (Buffer* buffer : buffers) {
    memory.emplace_back(*backend, buffer->all().size());
    backend->copy(memory.back().data(), buffer->all().data(), buffer->all().size());
    tensors.push_back({memory.back().data(), buffer->type()});
  }
  if (in_place) tensors[in.size()].data = tensors[0].data;
  const std::span all(tensors);
  const Args args{all.first(in.size()), all.subspan(in.size(), out.size()), all[in.size() + out.size()].data,
                  all.back().data};
  if (kernel.prepare) kernel.prepare(*stream, args);
  if (kernel.run) kernel.run(*stream, args);
  stream->synchronize();
  for (size_t i = 0; i < buffers.size(); ++i)
    backend->copy(buffers[i]->all().data(), memory[i].data(), buffers[i]->all().size());

  const auto expect_intact = [&](const Buffer& buffer, const std::string& what) {
    if (!buffer.guard_intact()) throw Error("{} wrote past {}", op.name(), what);
  };
  expect_intact(workspace, "its workspace");
  expect_intact(packed, "its packed memory");
  for (size_t i = 0; i < in.size(); ++i) expect_intact(in[i], fmt::format("input {}", i));
  for (size_t i = 0; i < out.size(); ++i) expect_intact(out[i], fmt::format("output {}", i));
  if (in_place) out[0] = in[0];
  return out;
}

/// Infers the output types, makes the kernel and runs it.
template <class OpClass>
std::vector<Buffer> run_op(const OpClass& op, const std::vector<Buffer>& in, bool in_place = false) {
  Signature signature;
  for (const Buffer& buffer : in) signature.in.push_back(buffer.type());
  signature.out = op.infer(signature.in);
  return run_kernel(make_kernel(test_backend().kernels, op, signature), op, signature, in, in_place);
}

/// Runs a graph's nodes in order; `values` holds the sources by Value id and gets every result.
inline void run_graph(const Graph& graph, std::map<int, Buffer>& values,
                      const KernelTable& kernels = test_backend().kernels) {
  for (const Node& node : graph.nodes()) {
    Signature signature;
    std::vector<Buffer> in;
    for (Value value : node.in) {
      in.push_back(values.at(value.id));
      signature.in.push_back(in.back().type());
    }
    for (Value value : node.out) signature.out.push_back(graph.type(value));
    const auto out = run_kernel(make_kernel(kernels, *node.op, signature), *node.op, signature, in);
    for (size_t i = 0; i < out.size(); ++i) values[node.out[i].id] = out[i];
  }
}

struct GradientCheck {
  double step = 1e-2;  // large, since the operator computes in 32 bits
  /// Of |difference| / (the largest |difference quotient| of the input). Its own input's scale, so that small gradients
  /// are held to it like large ones; the largest element's, since the rounding of the objective is the same for all
  /// elements and would fail those that are 0 or nearly so.
  double tolerance = 1e-2;
  size_t elements = 48;  // how many elements of each input are tried, spread evenly
  bool loss = false;     // output 0 is the loss itself: backward gets no dy
  const KernelTable& kernels = test_backend().kernels;
};

/// Builds op → backward and compares the gradients of the inputs named by `inputs` with central differences of
/// sum(w * output 0), w random. Returns what is wrong; empty where they match.
inline std::string gradient_fault(std::shared_ptr<const Op> op, const std::vector<Buffer>& in,
                                  const std::vector<size_t>& inputs, GradientCheck check = {}) {
  Graph graph;
  std::map<int, Buffer> values;
  std::vector<Value> sources;
  for (const Buffer& buffer : in) {
    sources.push_back(graph.source(fmt::format("in{}", sources.size()), buffer.type(), Role::activation));
    values[sources.back().id] = buffer;
  }
  graph.add("op", op, sources);
  const Node node = graph.nodes()[0];  // a copy: adding nodes moves the original
  const Type y_type = graph.type(node.out[0]);
  Buffer weights = uniform(y_type.shape, 77);
  std::vector<Value> dy;
  if (check.loss) {
    for (float& w : weights.as()) w = 1;
  } else {
    dy.resize(node.out.size());
    dy[0] = graph.source("dy", y_type, Role::activation);
    values[dy[0].id] = weights;
  }
  const std::vector<Value> gradients = op->backward(graph, node, dy);
  if (gradients.size() != in.size()) return fmt::format("{} gradients for {} inputs", gradients.size(), in.size());
  run_graph(graph, values, check.kernels);

  Signature signature;
  for (const Buffer& buffer : in) signature.in.push_back(buffer.type());
  for (Value value : node.out) signature.out.push_back(graph.type(value));
  const Kernel forward = make_kernel(check.kernels, *op, signature);
  const auto objective = [&](const std::vector<Buffer>& point) {
    const auto out = run_kernel(forward, *op, signature, point);
    double sum = 0;
    for (size_t i = 0; i < weights.as().size(); ++i) sum += double{weights[i]} * double{out[0][i]};
    return sum;
  };
  for (size_t input : inputs) {
    if (!gradients[input]) return fmt::format("input {} got no gradient", input);
    const Buffer& gradient = values.at(gradients[input].id);
    if (!(gradient.type() == in[input].type())) return fmt::format("gradient {} is {}", input, gradient.type().str());
    const size_t count = gradient.as().size();
    // Odd: an even one would meet every other channel only.
    const size_t stride = std::max<size_t>(1, count / check.elements) | 1;
    std::vector<double> numeric;
    double largest = 0;
    for (size_t i = 0; i < count; i += stride) {
      std::vector<Buffer> point = in;
      const float x = in[input][i], up = x + static_cast<float>(check.step), down = x - static_cast<float>(check.step);
      point[input][i] = up;
      const double above = objective(point);
      point[input][i] = down;
      numeric.push_back((above - objective(point)) / (double{up} - double{down}));
      largest = std::max(largest, std::abs(numeric.back()));
    }
    if (largest == 0) return fmt::format("input {} changes nothing: the check would show nothing", input);
    for (size_t k = 0; k < numeric.size(); ++k) {
      const double got = gradient[k * stride];
      if (!(std::isfinite(numeric[k]) && std::abs(numeric[k] - got) <= check.tolerance * largest))
        return fmt::format(
            "gradient of input {} at element {} is {}, finite differences say {}; the largest of {} is {}", input,
            k * stride, got, numeric[k], numeric.size(), largest);
    }
  }
  return {};
}

}  // namespace lockstep::test
