// The tests' own helpers: each comparison that other tests rely on must also be able to fail.
#include <limits>

#include "tests/support/op_check.h"
#include "tests/support/run_command.h"
#include "tests/support/source_files.h"
#include "tests/support/temporary_folder.h"

namespace lockstep::test {
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float inf = std::numeric_limits<float>::infinity();

TEST(Harness, FailsOnNanAndOnAnyBit) {
  const Buffer a = integers({5}, 1);
  Buffer b = a;
  EXPECT_TRUE(close(a, b, 0));
  b[4] = nan;
  EXPECT_FALSE(close(b, a, inf));
  EXPECT_FALSE(close(a, b, inf));
  b[4] = std::nextafter(a[4], inf);
  EXPECT_FALSE(same_bits(a, b));
  EXPECT_FALSE(close(a, b, 0));
}

/// y = factor * x, with a gradient that is wrong by `error`, relative.
class ScaleOp final : public Op {
 public:
  explicit ScaleOp(float factor, float error = 0) : factor(factor), error(error) {}
  std::string_view name() const override { return "scale"; }
  std::vector<Type> infer(std::span<const Type> in) const override { return {in[0]}; }
  std::vector<Rule> rules() const override { return {}; }
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override {
    return {graph.add1(node.name + "/grad", std::make_shared<ScaleOp>(factor * (1 + error)), {dy[0]})};
  }

  const float factor, error;
};

/// Whether the check takes that gradient at a point whose first element is `first`.
::testing::AssertionResult scale_gradient(float factor, float error, float first = 1) {
  KernelTable table;
  table.add<ScaleOp>([](const ScaleOp& op, const Signature&) {
    return Kernel{.run = [factor = op.factor](Stream& stream, const Args& args) {
      stream.enqueue([factor, in = args.in[0], out = args.out[0]] {
        for (int64_t i = 0; i < in.elements(); ++i) out.as()[i] = factor * in.as()[i];
      });
    }};
  });
  Buffer point = uniform({3, 20}, 1);
  point[0] = first;
  return gradient_matches(std::make_shared<ScaleOp>(factor, error), {point}, {0}, {.kernels = table});
}

TEST(FiniteDifferences, ReportAGradientThatIsAFewPercentOffWhateverItsSize) {
  for (float factor : {1e-4F, 0.01F, 1.0F, 1000.0F}) {
    EXPECT_TRUE(scale_gradient(factor, 0)) << factor;
    for (float error : {0.05F, -0.05F, -1.0F, -2.0F}) EXPECT_FALSE(scale_gradient(factor, error)) << factor;
  }
}

TEST(FiniteDifferences, ReportWhatIsNotANumber) {
  EXPECT_FALSE(scale_gradient(1, nan));
  EXPECT_FALSE(scale_gradient(1, inf));
  EXPECT_FALSE(scale_gradient(1, 0, inf));
  // A step up overflows: an infinite difference must not become an infinite tolerance.
  EXPECT_TRUE(scale_gradient(3e38F, 0, 1.0F));
  EXPECT_FALSE(scale_gradient(3e38F, 0, 1.13F));
}

TEST(FiniteDifferences, ReportAnInputThatChangesNothing) { EXPECT_FALSE(scale_gradient(0, 0)); }

TEST(Errors, AreToldByTheirTextOrByNone) {
  EXPECT_EQ(error_of([] { throw InputError("bad {}", 1); }), "bad 1");
  EXPECT_EQ(error_of<Error>([] { throw InputError("bad"); }), "bad");
  EXPECT_EQ(error_of([] {}), "");
  EXPECT_THROW(error_of([] { throw Error("not the user's fault"); }), Error);
  EXPECT_TRUE(says("bad image 7", {"bad", "7"}));
  EXPECT_FALSE(says("bad image 7", {"bad", "8"}));
  EXPECT_FALSE(says("", {})) << "a call that throws nothing says nothing";
}

TEST(RunCommand, KeepsTextAndExitCode) {
  const Outcome failed = run_command("echo out; echo out err >&2; exit 3");
  EXPECT_EQ(failed.code, 3);
  EXPECT_EQ(failed.text, "out\nout err\n");
  EXPECT_EQ(failed.count("out"), 2U);
  EXPECT_TRUE(failed.says("err"));
  EXPECT_FALSE(failed.says("error"));
  EXPECT_EQ(run_command("true").code, 0);
  EXPECT_EQ(run_command("no-such-program-anywhere").code, 127);
  EXPECT_EQ(run_command("kill -9 $$").code, 128 + 9);
  EXPECT_EQ(failed.line_after("out "), "err");
  EXPECT_EQ(failed.line_after("error "), "");
}

TEST(SourceFiles, AreWhereTheEnvironmentSays) {
  EXPECT_GT(golden_json("zoo.json").size(), 0U);  // where this was built
  const lockstep::testing::TemporaryFolder folder;
  std::filesystem::create_directories(folder.path() / "tests/golden");
  std::ofstream(folder.path() / "tests/golden/zoo.json") << "[7]";
  setenv("LOCKSTEP_TEST_SOURCE", folder.path().c_str(), 1);
  EXPECT_EQ(golden_json("zoo.json")[0], 7);
  EXPECT_TRUE(says(error_of<Error>([] { golden_json("layers.json"); }),
                   {"cannot open " + folder.path().string() + "/tests/golden/layers.json", "LOCKSTEP_TEST_SOURCE"}));
  unsetenv("LOCKSTEP_TEST_SOURCE");
}

}  // namespace
}  // namespace lockstep::test
