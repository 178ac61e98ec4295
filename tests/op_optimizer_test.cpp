// SGD, Adam and the moving average against plain loops in double, in place and over ranges cut anywhere.
#include <omp.h>

#include "core/step_state.h"
#include "layers/optimizers/adam.h"
#include "layers/optimizers/moving_average.h"
#include "layers/optimizers/sgd.h"
#include "tests/op_check.h"

namespace lockstep::test {
namespace {

constexpr int64_t samples = 24;
constexpr float lr = 0.05F;

/// Parameters and slots of one optimizer, updated where they lie.
struct Flat {
  Flat(int64_t n, size_t slots) {
    kept.push_back(uniform({n}, 1));
    for (size_t i = 0; i < slots; ++i) kept.emplace_back(Type{Shape{n}});
  }
  /// Updates elements begin … end, every output in its input's memory.
  template <class OpClass>
  void update(const OpClass& op, const Buffer& sum, uint64_t step, int64_t begin, int64_t end) {
    TestBackend& on = test_backend();
    std::vector<Arena> memory;
    const auto placed = [&](const Buffer& buffer) {
      memory.emplace_back(*on.backend, buffer.type().bytes());
      on.backend->copy(memory.back().data(), buffer.tensor().data, buffer.type().bytes());
      return memory.back().data();
    };
    const Type type{Shape{end - begin}};
    const auto part = [&](const Buffer& buffer) {
      return Tensor{placed(buffer) + begin * int64_t{sizeof(float)}, type};
    };
    const Buffer state = state_buffer(StepState{.step = step, .samples = samples, .lr = lr});
    std::vector<Tensor> out;
    for (const Buffer& buffer : kept) out.push_back(part(buffer));
    std::vector<Tensor> in{out[0], part(sum), {placed(state), state.type()}};
    in.insert(in.end(), out.begin() + 1, out.end());
    Signature signature;
    for (const Tensor& tensor : in) signature.in.push_back(tensor.type);
    signature.out = op.infer(signature.in);
    ASSERT_EQ(signature.out.size(), out.size());
    on.kernels.make(op, signature).run(*on.stream, {in, out});
    on.stream->synchronize();
    for (size_t i = 0; i < kept.size(); ++i)
      on.backend->copy(kept[i].tensor().data, memory[i].data(), kept[i].type().bytes());
  }
  std::vector<Buffer> kept;
};

Buffer gradient_sum(int64_t n, uint64_t step) { return uniform({n}, 100 + static_cast<unsigned>(step), -30, 30); }

/// `reference(p, g, slots, t)` updates one element in double; t counts from 1.
template <class OpClass, class Reference>
void expect_ten_steps(const OpClass& op, size_t slots, double decay, Reference reference) {
  constexpr int64_t n = 37;
  Flat flat(n, slots);
  const auto start = flat.kept[0];
  std::vector<double> p(start.as().begin(), start.as().end());
  std::vector<std::array<double, 2>> slot(p.size());
  for (uint64_t step = 0; step < 10; ++step) {
    const Buffer sum = gradient_sum(n, step);
    flat.update(op, sum, step, 0, n);
    for (size_t i = 0; i < p.size(); ++i)
      reference(p[i], double{sum[i]} / samples + decay * p[i], slot[i], static_cast<double>(step + 1));
  }
  EXPECT_TRUE(close(flat.kept[0], p, 5e-6, 5e-6));
  EXPECT_FALSE(close(start, p, 1e-3));
  for (size_t s = 0; s < slots; ++s) {
    std::vector<double> expected;
    for (const auto& values : slot) expected.push_back(values[s]);
    EXPECT_TRUE(close(flat.kept[s + 1], expected, 5e-6, 1e-5)) << "slot " << s;
  }
}

TEST(Sgd, TenStepsMatchReference) {
  for (float decay : {0.0F, 0.1F}) {
    expect_ten_steps(SgdOp(0, false, decay), 0, decay, [](double& p, double g, auto&, double) { p -= double{lr} * g; });
    for (bool nesterov : {false, true})
      expect_ten_steps(SgdOp(0.9F, nesterov, decay), 1, decay, [=](double& p, double g, auto& slot, double) {
        slot[0] = double{0.9F} * slot[0] + g;
        p -= double{lr} * (nesterov ? g + double{0.9F} * slot[0] : slot[0]);
      });
  }
}

TEST(Adam, TenStepsMatchReference) {
  for (float decay : {0.0F, 0.1F})
    expect_ten_steps(AdamOp(0.9F, 0.999F, 1e-7F, decay), 2, decay, [](double& p, double g, auto& slot, double t) {
      const double b1 = double{0.9F}, b2 = double{0.999F};
      slot[0] = b1 * slot[0] + (1 - b1) * g;
      slot[1] = b2 * slot[1] + (1 - b2) * g * g;
      const double m = slot[0] / (1 - std::pow(b1, t)), v = slot[1] / (1 - std::pow(b2, t));
      p -= double{lr} * m / (std::sqrt(v) + double{1e-7F});
    });
}

template <class OpClass>
void expect_same_bits_however_cut(const OpClass& op, size_t slots) {
  constexpr int64_t n = 50021;
  Flat whole(n, slots), cut = whole, threaded = whole, wrong = whole;
  for (uint64_t step = 0; step < 3; ++step) {
    const Buffer sum = gradient_sum(n, step);
    whole.update(op, sum, step, 0, n);
    const int64_t ends[]{0, 1, 4, 13, 9998, n};
    for (size_t i = 0; i + 1 < std::size(ends); ++i) cut.update(op, sum, step, ends[i], ends[i + 1]);
    omp_set_num_threads(3);
    threaded.update(op, sum, step, 0, n);
    omp_set_num_threads(1);
    wrong.update(op, sum, step, 0, n - 1);
  }
  for (size_t i = 0; i < whole.kept.size(); ++i) {
    EXPECT_TRUE(same_bits(whole.kept[i], cut.kept[i])) << i;
    EXPECT_TRUE(same_bits(whole.kept[i], threaded.kept[i])) << i;
    EXPECT_FALSE(same_bits(whole.kept[i], wrong.kept[i])) << i;
  }
}

TEST(Sgd, RangesMayBeCutAnywhere) {
  expect_same_bits_however_cut(SgdOp(0, false, 0.01F), 0);
  expect_same_bits_however_cut(SgdOp(0.9F, false, 0.01F), 1);
  expect_same_bits_however_cut(SgdOp(0.9F, true, 0.01F), 1);
}
TEST(Adam, RangesMayBeCutAnywhere) { expect_same_bits_however_cut(AdamOp(0.9F, 0.999F, 1e-7F, 0.01F), 2); }

TEST(Adam, FirstStepIsTheLearningRate) {
  // m / (1 - beta_1) = g and v / (1 - beta_2) = g * g: the step is lr * sign(g), whatever the size of g.
  Flat flat(9, 2);
  const Buffer before = flat.kept[0];
  flat.update(AdamOp(0.9F, 0.999F, 1e-7F, 0), gradient_sum(9, 0), 0, 0, 9);
  for (size_t i = 0; i < 9; ++i)
    EXPECT_TRUE(std::abs(std::abs(flat.kept[0][i] - before[i]) - lr) <= 1e-6F) << flat.kept[0][i] - before[i];
}

TEST(Optimizers, NanReachesTheParameter) {
  Buffer sum = gradient_sum(11, 0);
  sum[3] = sum[10] = std::nanf("");  // in the body and in the tail
  Flat sgd(11, 1), adam(11, 2);
  sgd.update(SgdOp(0.9F, false, 0), sum, 0, 0, 11);
  adam.update(AdamOp(0.9F, 0.999F, 1e-7F, 0), sum, 0, 0, 11);
  for (const Flat* flat : {&sgd, &adam})
    for (const Buffer& buffer : flat->kept)
      for (size_t i = 0; i < 11; ++i) EXPECT_EQ(std::isnan(buffer[i]), i == 3 || i == 10);
}

TEST(MovingAverage, MatchesReferenceInPlace) {
  const Buffer moving = uniform({19}, 1), sum = uniform({19}, 2, -50, 50);
  std::vector<double> expected;
  for (size_t i = 0; i < 19; ++i) expected.push_back(double{0.9F} * moving[i] + (1 - double{0.9F}) * sum[i] / samples);
  const Buffer state = state_buffer(StepState{.samples = samples});
  for (bool in_place : {false, true})
    EXPECT_TRUE(close(run_op(MovingAverageOp(0.9F), {moving, sum, state}, in_place)[0], expected, 1e-6));
}

TEST(Optimizers, Errors) {
  EXPECT_EQ(error_of([] { SgdOp(0.9F, true, 0); }), "");
  EXPECT_EQ(error_of([] { SgdOp(1, false, 0); }), "sgd: got momentum 1, expected 0 <= momentum < 1");
  EXPECT_EQ(error_of([] { SgdOp(0, true, 0); }), "sgd: got nesterov with momentum 0, expected a momentum above 0");
  EXPECT_EQ(error_of([] { SgdOp(0, false, std::nanf("")); }), "sgd: got weight_decay nan, expected 0 or more");
  EXPECT_EQ(error_of([] { AdamOp(1.5F, 0, 1, 0); }), "adam: got beta_1 1.5, expected 0 <= beta_1 < 1");
  EXPECT_EQ(error_of([] { AdamOp(0, -1, 1, 0); }), "adam: got beta_2 -1, expected 0 <= beta_2 < 1");
  EXPECT_EQ(error_of([] { AdamOp(0, 0, 0, 0); }), "adam: got epsilon 0, expected a number above 0");
  EXPECT_EQ(error_of([] { MovingAverageOp(2); }), "moving average: got momentum 2, expected 0 to 1");
  const Type four{Shape{4}}, five{Shape{5}};
  EXPECT_EQ(error_of([&] {
              SgdOp(0, false, 0).infer(std::vector<Type>{four, five, step_state_type()});
            }),
            "the gradient sum is f32[5], expected f32[4]");
  EXPECT_EQ(error_of([&] {
              AdamOp(0, 0, 1, 0).infer(std::vector<Type>{four, four, step_state_type(), four});
            }),
            "got 4 inputs, expected 5");
}

}  // namespace
}  // namespace lockstep::test
