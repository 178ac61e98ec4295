// What one GPU can do and what our kernels make of it, in turns: its copy bandwidth, and beside it each kernel at the
// sizes of ResNet-50, and the canonical tree among ranks that share the card beside a plain sum of the same bytes.
// Prints a Markdown table. `of copy` 1 means that a kernel moves its bytes as fast as a copy moves as many.
//   benchmark_gpu [--batch 256] [--precision bf16] [--only PART-OF-NAME]
#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>
#include <random>

#include "core/step_state.h"
#include "launch/backends/backends.h"
#include "launch/host/runtime.h"
#include "launch/lockstep.h"
#include "layers/optimizers/update.h"
#include "parallel/comm/gather.h"
#include "parallel/reduction/tree_reduce.h"

using namespace lockstep;

namespace {

constexpr int rounds = 7;
constexpr size_t copy_bytes = size_t{1} << 30;
constexpr int64_t parameters = 25'557'032;  // of ResNet-50

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

template <class Body>
double seconds_of(Body&& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Random values from 0.5 to 1, those of 16 bits with either sign (f32 may be a variance); bytes that are places inside
/// a 3x3 window, away from its later edges.
std::vector<std::byte> pattern(DType dtype) {
  std::vector<std::byte> bytes(size_t{1} << 24);
  std::mt19937 bits(1);
  const auto fill = [&]<class T>(T half, uint32_t random_bits) {
    auto* words = reinterpret_cast<T*>(bytes.data());
    for (size_t i = 0; i < bytes.size() / sizeof(T); ++i)
      words[i] = static_cast<T>(half | (static_cast<uint32_t>(bits()) & random_bits));
  };
  if (dtype == DType::f32) fill(uint32_t{0x3F000000}, 0x007FFFFF);
  if (dtype == DType::f16) fill(uint16_t{0x3800}, 0x83FF);
  if (dtype == DType::bf16) fill(uint16_t{0x3F00}, 0x807F);
  constexpr std::byte places[] = {std::byte{0}, std::byte{1}, std::byte{3}, std::byte{4}};
  if (dtype == DType::u8)
    for (std::byte& place : bytes) place = places[bits() % 4];
  return bytes;
}

/// One rank's view of the card.
struct Card {
  std::unique_ptr<Backend> backend = cuda_backend().make({});
  std::unique_ptr<Stream> stream = backend->compute_stream();

  Arena random(const Type& type) const {
    Arena arena(*backend, type.bytes());
    const auto values = pattern(type.dtype);
    for (size_t at = 0; at < type.bytes(); at += values.size())
      backend->copy(arena.data() + at, values.data(), std::min(values.size(), type.bytes() - at));
    return arena;
  }
  /// Seconds of one `body`, of so many recorded in a row that their start does not count.
  std::function<double()> timer(const std::function<void()>& body, double target = 0.02) const {
    body();  // libraries load what they need
    stream->synchronize();
    const double once = seconds_of([&] { body(), stream->synchronize(); });
    const int repeats = std::clamp(static_cast<int>(target / once), 1, 500);
    const auto replay = backend->capture(*stream, [&] {
      for (int i = 0; i < repeats; ++i) body();
    });
    replay();
    stream->synchronize();
    return [=, this] { return seconds_of([&] { replay(), stream->synchronize(); }) / repeats; };
  }
};

struct Case {
  std::string name;
  std::shared_ptr<const Op> op;
  std::vector<Type> in;
  double flops = 0;
  std::vector<int> in_place = {};  // by output: the input in whose memory it lies
};

class Cases {
 public:
  Cases(int64_t batch, DType dtype) : n_(batch), dtype_(dtype) {
    convolutions();
    for (const auto& [side, channels, add] : {std::tuple<int64_t, int64_t, bool>{112, 64, false},
                                              {56, 64, false},
                                              {56, 256, true},
                                              {28, 512, true},
                                              {14, 1024, true},
                                              {7, 2048, true}})
      batch_norms({n_, side, side, channels}, add);
    pools();
    const Type flat{Shape{parameters}};
    all_.push_back({"sgd with momentum",
                    std::make_shared<UpdateOp>(SGD{.momentum = 0.9F}),
                    {flat, flat, step_state_type(), flat},
                    0,
                    {0, 3}});
    all_.push_back(
        {"adam", std::make_shared<UpdateOp>(Adam{}), {flat, flat, step_state_type(), flat, flat}, 0, {0, 3, 4}});
  }
  const std::vector<Case>& all() const { return all_; }

 private:
  Type images(const Shape& shape) const { return {shape, dtype_}; }
  template <class OpClass>
  std::vector<Type> add(const std::string& name, OpClass op, std::vector<Type> in, double flops = 0) {
    auto shared = std::make_shared<const OpClass>(std::move(op));
    auto out = shared->infer(in);
    all_.push_back({name, std::move(shared), std::move(in), flops});
    return out;
  }

  void convolutions() {
    struct Conv {
      int64_t side, in, out, kernel, stride;
    };
    for (const auto& [side, in, out, kernel, stride] : {Conv{224, 3, 64, 7, 2},
                                                        {56, 64, 64, 1, 1},
                                                        {56, 64, 64, 3, 1},
                                                        {56, 64, 256, 1, 1},
                                                        {56, 256, 64, 1, 1},
                                                        {56, 256, 512, 1, 2},
                                                        {56, 128, 128, 3, 2},
                                                        {28, 128, 128, 3, 1},
                                                        {28, 512, 128, 1, 1},
                                                        {14, 256, 256, 3, 1},
                                                        {14, 256, 1024, 1, 1},
                                                        {7, 512, 512, 3, 1},
                                                        {7, 512, 2048, 1, 1}}) {
      const Type x = images({n_, side, side, in}), w{Shape{out, kernel, kernel, in}};
      const Window window = make_window({kernel, kernel}, {stride, stride}, Padding::same, x.shape);
      const Conv2dAttributes conv{window.size, window.stride, window.pad_before, window.pad_after, 1};
      const Type y = Conv2dOp(conv, false, false).infer(std::vector{x, w})[0];
      const double flops = 2.0 * static_cast<double>(y.shape.elements() * kernel * kernel * in);
      const std::string name =
          fmt::format("{}x{}{} {}→{} at {}", kernel, kernel, stride > 1 ? "/2" : "", in, out, side);
      add("conv " + name, Conv2dOp(conv, false, false), {x, w}, flops);
      if (side < 224) add("conv data grad " + name, Conv2dDataGradOp(conv, x.shape), {w, y}, flops);
      add("conv weight grad " + name, Conv2dWeightGradOp(conv, false), {x, y}, flops);
    }
  }

  void batch_norms(const Shape& shape, bool residual) {
    const Type x = images(shape), channels{Shape{shape[3]}}, lane = lane_state_type(1);
    const std::string name =
        fmt::format("batch norm{} + relu {}x{}x{}", residual ? " + add" : "", shape[1], shape[2], shape[3]);
    std::vector<Type> in{x, channels, channels, lane};
    if (residual) in.push_back(x);
    const auto out = add(name, BatchNormOp(1e-5F, true, residual), in);
    add(name + " grad", BatchNormGradOp(true, residual), {x, x, x, channels, out[1], out[2], lane});
  }

  void pools() {
    const Type x = images({n_, 112, 112, 64}), last = images({n_, 7, 7, 2048}), middle = images({n_, 56, 56, 256});
    const Window window = make_window({3, 3}, {2, 2}, Padding::same, x.shape);
    const auto pooled = add("max pool 3x3/2 112x112x64", MaxPoolOp(window), {x});
    add("max pool grad", MaxPoolGradOp(window, false, x.shape), {pooled[1], pooled[0]});
    const auto mean = add("global average pool 7x7x2048", GlobalAvgPoolOp(49), {last});
    add("global average pool grad", GlobalAvgPoolGradOp(49, last.shape), mean);
    add("add 56x56x256", AddOp(), {middle, middle});
    add("relu 56x56x256", ReluOp(), {middle});
  }

  int64_t n_;
  DType dtype_;
  std::vector<Case> all_;
};

/// A kernel with memory of its own for inputs, outputs and workspace.
class Bound {
 public:
  Bound(const Card& card, const KernelTable& kernels, const Case& c) {
    Signature signature{c.in, c.op->infer(c.in)};
    kernel_ = kernels.make(*c.op, signature);
    for (const Type& type : signature.in) tensors_.push_back(place(card.random(type), type));
    for (size_t i = 0; i < signature.out.size(); ++i)
      tensors_.push_back(i < c.in_place.size()
                             ? Tensor{tensors_[static_cast<size_t>(c.in_place[i])].data, signature.out[i]}
                             : place(Arena(*card.backend, signature.out[i].bytes()), signature.out[i]));
    for (const Tensor& tensor : tensors_) bytes_ += tensor.type.bytes();
    const LaneState lane{.first = 0, .valid = c.in[0].shape[0]};
    const StepState step{.seed = 1, .step = 1, .samples = 256, .lr = 1e-3F};
    for (size_t i = 0; i < c.in.size(); ++i) {
      const auto put = [&](const auto& state) {
        card.backend->copy(tensors_[i].data, reinterpret_cast<const std::byte*>(&state), sizeof state);
      };
      if (c.in[i] == lane_state_type(1)) put(lane);
      if (c.in[i] == step_state_type()) put(step);
    }
    workspace_ = Arena(*card.backend, kernel_.workspace);
    packed_ = Arena(*card.backend, kernel_.packed);
    const std::span all(tensors_);
    args_ = {all.first(c.in.size()), all.subspan(c.in.size()), workspace_.data(), packed_.data()};
    if (kernel_.prepare) kernel_.prepare(*card.stream, args_);
  }
  void run(Stream& stream) const { kernel_.run(stream, args_); }
  /// Each input and output once.
  size_t bytes() const { return bytes_; }

 private:
  Tensor place(Arena arena, const Type& type) {
    memory_.push_back(std::move(arena));
    return {memory_.back().data(), type};
  }

  Kernel kernel_;
  std::vector<Arena> memory_;
  std::vector<Tensor> tensors_;
  Arena workspace_, packed_;
  Args args_;
  size_t bytes_ = 0;
};

/// Prints a row: milliseconds, GB/s, the share of a copy's with its range, TFLOP/s.
void row(const std::string& name, const std::vector<double>& seconds, double bytes, const std::vector<double>& copies,
         double flops) {
  std::vector<double> shares;
  for (size_t i = 0; i < seconds.size(); ++i)
    shares.push_back(bytes / seconds[i] / (2 * static_cast<double>(copy_bytes) / copies[i]));
  const auto [least, most] = std::ranges::minmax(shares);
  fmt::print("| {} | {:.3f} | {:.0f} | {:.2f} ({:.2f} to {:.2f}) | {} |\n", name, 1e3 * median(seconds),
             1e-9 * bytes / median(seconds), median(shares), least, most,
             flops > 0 ? fmt::format("{:.0f}", 1e-12 * flops / median(seconds)) : "");
  std::fflush(stdout);
}

/// Rows of all cases whose names contain `only`. Returns false where one failed.
bool kernels_beside_copy(int64_t batch, Precision precision, const std::string& only) {
  const Card card;
  const Type gib{Shape{static_cast<int64_t>(copy_bytes / sizeof(float))}};
  const Arena from = card.random(gib), to(*card.backend, copy_bytes);
  const auto copy = card.timer([&] { card.stream->copy(to.data(), from.data(), copy_bytes); });
  const auto measure = [&](const std::string& name, double bytes, double flops, const std::function<double()>& timer) {
    std::vector<double> seconds, copies;
    for (int i = 0; i < rounds; ++i) {
      copies.push_back(copy());
      seconds.push_back(timer());
    }
    row(name, seconds, bytes, copies, flops);
  };
  fmt::print("{}, {} rounds; batch {}, {}\n\n", card.backend->name(), rounds, batch, name_of(precision));
  fmt::print("| what | ms | GB/s read and written | of copy | TFLOP/s |\n|---|---|---|---|---|\n");
  measure("copy of 1 GiB", 2.0 * static_cast<double>(copy_bytes), 0, copy);
  const auto floats = [](const Arena& arena) { return reinterpret_cast<float*>(arena.data()); };
  measure("accumulate of 1 GiB", 3.0 * static_cast<double>(copy_bytes), 0,
          card.timer([&] { card.stream->accumulate(floats(to), floats(from), copy_bytes / sizeof(float)); }));
  measure("accumulate of ResNet-50's gradients", 12.0 * static_cast<double>(parameters), 0,
          card.timer([&] { card.stream->accumulate(floats(to), floats(from), parameters); }));

  bool good = true;
  const KernelTable kernels =
      cuda_backend().kernels(*card.backend, {.tf32 = precision == Precision::tf32}, std::make_shared<EngineChoices>());
  const Cases cases(batch, compute_type(precision));
  for (const Case& c : cases.all()) {
    if (c.name.find(only) == std::string::npos) continue;
    try {
      const Bound bound(card, kernels, c);
      measure(c.name, static_cast<double>(bound.bytes()), c.flops, card.timer([&] { bound.run(*card.stream); }));
    } catch (const Error& error) {
      fmt::print("| {} | failed: {} | | | |\n", c.name, error.what());
      good = false;
    }
  }
  return good;
}

/// The sum of ResNet-50's gradients over ranks that share the card: by the tree, which leaves it on every rank, and
/// beside it by one stream that adds one vector after the other.
void tree_beside_sum(Runtime& runtime, int ranks) {
  const Type vector{Shape{parameters}};
  runtime.run(ranks, [&](RankContext& rank) {
    const Card card;
    const Arena mine = card.random(vector);
    auto* data = reinterpret_cast<float*>(mine.data());
    TreeAllReduce tree(rank.comm, *card.backend, parameters);
    const bool first = rank.comm.rank() == 0;
    const auto others = first ? card.random(vector) : Arena();
    std::function<double()> plain;
    if (first)
      plain = card.timer([&] {
        for (int i = 1; i < ranks; ++i)
          card.stream->accumulate(data, reinterpret_cast<const float*>(others.data()), parameters);
      });
    constexpr int repeats = 10;
    std::vector<double> trees, sums, ratios;
    for (int round = 0; round <= rounds; ++round) {
      meet(rank.comm);
      const double seconds = seconds_of([&] {
                               for (int i = 0; i < repeats; ++i) tree.run(data, parameters, *card.stream);
                               card.stream->synchronize();
                               meet(rank.comm);
                             }) /
                             repeats;
      if (!first || round == 0) continue;  // the first round makes what it needs
      trees.push_back(seconds);
      sums.push_back(plain());
      ratios.push_back(sums.back() / trees.back());
    }
    if (!first) return;
    const auto [least, most] = std::ranges::minmax(ratios);
    fmt::print("| {} ranks | {:.3f} | {:.3f} | {:.2f} ({:.2f} to {:.2f}) |\n", ranks, 1e3 * median(trees),
               1e3 * median(sums), median(ratios), least, most);
    std::fflush(stdout);
  });
}

}  // namespace

int main(int argc, char** argv) {
  Runtime runtime;
  int64_t batch = 256;
  std::string precision = "bf16", only;
  CLI::App app{"Times our kernels beside what the card can do."};
  app.add_option("--batch", batch);
  app.add_option("--precision", precision);
  app.add_option("--only", only, "Only kernels whose names contain this; nothing among ranks");
  CLI11_PARSE(app, argc, argv);
  return runtime.guard([&] {
    const bool good = kernels_beside_copy(batch, precision_from_name(precision), only);
    if (only.empty()) {
      fmt::print("\n| tree sum of {} floats | ms | plain sum, ms | plain sum over tree |\n|---|---|---|---|\n",
                 parameters);
      for (const int ranks : {2, 4, 8}) tree_beside_sum(runtime, ranks);
    }
    if (!good) throw Error("some kernels failed");
  });
}
