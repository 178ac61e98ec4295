// Every operator on thousands of inputs drawn by a seed, against references in double, between guard bytes; and kernels
// with planted faults, each of which must be found. LOCKSTEP_PROPERTY_CASES is the number of cases an operator; a case
// that fails says how to repeat it alone.
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <optional>

#include "layers/cpu/kernels.h"
#include "tests/properties/case.h"
#include "tests/properties/planted.h"

namespace lockstep::test {
namespace {

struct Operator {
  std::string name;
  const std::type_info* type;
  void (*property)(Case&);
};
void PrintTo(const Operator& op, std::ostream* to) { *to << op.name; }

const std::vector<Operator>& operators() {
  static const std::vector<Operator> all{
#define LOCKSTEP_OP(Class) {#Class, &typeid(Class), property<Class>},
#include "layers/list.inc"
  };
  return all;
}

std::optional<uint64_t> from_environment(const char* name) {
  const char* text = std::getenv(name);
  if (!text || !*text) return std::nullopt;
  char* end = nullptr;
  const uint64_t value = std::strtoull(text, &end, 10);
  if (*end) throw InputError("{} is '{}', expected a whole number", name, text);
  return value;
}

/// What is being tried, for the line that a crash prints.
char now[200];

std::string repeat(const Operator& op, uint64_t seed) {
  return fmt::format("to repeat it: LOCKSTEP_PROPERTY_SEED={} properties_test --gtest_filter='*/{}'", seed, op.name);
}

/// A load beyond the memory that there is ends the program: it says of which case.
void say_where(int number) {
  std::signal(number, SIG_DFL);
  static_cast<void>(!write(STDERR_FILENO, now, std::strlen(now)));
}
struct Crashes final : testing::Environment {
  void SetUp() override {
    struct sigaction action {};
    action.sa_handler = say_where;
    for (const int number : {SIGSEGV, SIGBUS}) sigaction(number, &action, nullptr);
  }
};
testing::Environment* const crashes = testing::AddGlobalTestEnvironment(new Crashes);

/// The first fault among so many cases; empty where there is none.
std::string first_fault(const Operator& op, uint64_t first, uint64_t cases, const KernelTable& kernels, int* runs) {
  for (uint64_t seed = first; seed < first + cases; ++seed) {
    const std::string line = "\n" + op.name + " ended the program; " + repeat(op, seed) + "\n";
    now[line.copy(now, sizeof now - 1)] = 0;
    Case c(op.name, seed, kernels);
    op.property(c);
    *runs += c.runs();
    if (!c.ran(*op.type)) return fmt::format("the property of {} did not run it", op.name);
    if (!c.fault().empty()) return c.fault() + "\n" + repeat(op, seed);
  }
  return {};
}

class Properties : public testing::TestWithParam<Operator> {};

TEST_P(Properties, Hold) {
  // Emulated threads take their time.
  const uint64_t cases = from_environment("LOCKSTEP_PROPERTY_CASES").value_or(on_cuda() ? 30 : 250);
  const auto seed = from_environment("LOCKSTEP_PROPERTY_SEED");
  int runs = 0;
  EXPECT_EQ(first_fault(GetParam(), seed.value_or(0), seed ? 1 : cases, test_backend().kernels, &runs), "");
  RecordProperty("cases", static_cast<int>(seed ? 1 : cases));
  RecordProperty("runs", runs);
}

INSTANTIATE_TEST_SUITE_P(Of, Properties, testing::ValuesIn(operators()), [](const auto& of) { return of.param.name; });

const Operator& operator_named(const std::string& name) {
  for (const Operator& op : operators())
    if (op.name == name) return op;
  throw Error("no operator {}", name);
}

/// What the properties say of the CPU's kernels with this one in place of its own.
template <class OpClass>
std::string fault_with(const std::string& name, const KernelTable::Make& make) {
  KernelTable kernels = cpu_kernels();
  kernels.add<OpClass>([make](const Op& op, const Signature& signature) { return make(op, signature); });
  int runs = 0;
  return first_fault(operator_named(name), 0, 70, kernels, &runs);
}

testing::AssertionResult says(const std::string& fault, const std::string& what) {
  if (fault.find(what) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "expected '" << what << "', found '" << fault << "'";
}

class Planted : public testing::Test {
 protected:
  void SetUp() override {
    if (on_cuda()) GTEST_SKIP() << "the planted kernels run on the host";
  }
};

TEST_F(Planted, NothingIsFoundWhereNothingIs) {
  EXPECT_EQ(fault_with<ReluOp>("ReluOp", relu_kernel({})), "");
  EXPECT_EQ(fault_with<AvgPoolOp>("AvgPoolOp", average_kernel(false)), "");
  EXPECT_EQ(fault_with<MaxPoolGradOp>("MaxPoolGradOp", max_pool_grad_kernel(false)), "");
}

TEST_F(Planted, StoresThatHangOver) {
  // Into the next pixel, which is written already.
  EXPECT_TRUE(says(fault_with<MaxPoolGradOp>("MaxPoolGradOp", max_pool_grad_kernel(true)), "the sum of dx in channel"));
  EXPECT_TRUE(says(fault_with<ReluOp>("ReluOp", relu_kernel({.beyond = 1})), "wrote to output 0, byte 0"));
  EXPECT_TRUE(says(fault_with<ReluOp>("ReluOp", relu_kernel({.before = 1})), "before its beginning"));
}

TEST_F(Planted, TailsThatAreSkipped) {
  EXPECT_TRUE(says(fault_with<ReluOp>("ReluOp", relu_kernel({.without_tail = true})), "output 0 of two runs"));
}

TEST_F(Planted, StridesThatAreSwapped) {
  EXPECT_TRUE(says(fault_with<AvgPoolOp>("AvgPoolOp", average_kernel(true)), "y["));
}

TEST_F(Planted, InputsThatAreChanged) {
  EXPECT_TRUE(says(fault_with<ReluOp>("ReluOp", relu_kernel({.changes_input = true})), "changed input 0"));
}

TEST_F(Planted, ResultsThatDependOnThreads) {
  EXPECT_TRUE(says(fault_with<ReluOp>("ReluOp", relu_kernel({.by_threads = true})), "of two runs"));
}

TEST_F(Planted, LoadsBeyondWhatThereIs) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(static_cast<void>(fault_with<ReluOp>("ReluOp", relu_kernel({.reads_beyond = true}))),
               "LOCKSTEP_PROPERTY_SEED=[0-9]+ properties_test --gtest_filter='\\*/ReluOp'");
}

}  // namespace
}  // namespace lockstep::test
