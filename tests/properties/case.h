// One operator on inputs drawn by a seed: what a property draws with, runs and compares with. One thread.
#pragma once

#include <cmath>
#include <random>
#include <set>
#include <string>
#include <typeindex>
#include <vector>

#include "layers/base/window.h"
#include "tests/support/op_check.h"

namespace lockstep::test {

/// A number made of many terms, in double: `size` is the sum of their absolute values, by which the rounding of any
/// order of 32-bit additions is bounded.
struct Sum {
  double value = 0, size = 0;

  Sum() = default;
  Sum(double term) : value(term), size(std::abs(term)) {}  // NOLINT: implicit, for results of one term
  void add(double term) {
    value += term;
    size += std::abs(term);
  }
};
using Sums = std::vector<Sum>;

/// Elements of any type.
double number(const Buffer& buffer, size_t i);
inline size_t count(const Buffer& buffer) { return static_cast<size_t>(buffer.shape().elements()); }
std::vector<double> numbers(const Buffer& buffer);
/// Rounded to the type.
Buffer holding(Type type, const std::vector<double>& values);

/// Where element (n,h,w,c) of images [N,H,W,C] lies.
inline size_t at(const Shape& s, int64_t n, int64_t h, int64_t w, int64_t c) {
  return static_cast<size_t>(((n * s[1] + h) * s[2] + w) * s[3] + c);
}

/// The slope of a smooth function by central differences of two widths, to some 1e-10.
template <class Function>
double slope_at(double x, const Function& f) {
  const auto central = [&](double h) { return (f(x + h) - f(x - h)) / (2 * h); };
  return (4 * central(5e-4) - central(1e-3)) / 3;
}

/// How a kernel is called.
struct Calling {
  std::vector<std::pair<size_t, size_t>> in_place = {};  // outputs that lie where inputs do
  bool at_end = false;                                   // of the memory that there is: see Guarded::Fit
  int threads = 1;
  unsigned char poison = 0xFF;  // every byte of outputs and workspace at the start
};
struct Outcome {
  std::vector<Buffer> out;
  std::string fault;  // what was written where it must not be; empty where nothing was
};
/// Makes `op`'s kernel from `kernels` and runs it between guard bytes.
Outcome run_guarded(const KernelTable& kernels, const Op& op, const Signature& signature, const std::vector<Buffer>& in,
                    const Calling& calling);

/// What an operator's kernels promise besides.
struct Contract {
  std::vector<std::pair<size_t, size_t>> in_place = {};  // outputs that may lie on inputs, besides output 0
  bool by_threads = false;                               // whether bits may depend on the number of threads
};

class Case {
 public:
  Case(const std::string& operator_name, uint64_t seed, const KernelTable& kernels = test_backend().kernels);

  /// From low to high, both included.
  int64_t whole(int64_t low, int64_t high);
  float real(float low, float high);
  bool coin() { return whole(0, 1) == 1; }
  bool one_in(int64_t n) { return whole(1, n) == 1; }
  template <class T>
  T one_of(std::initializer_list<T> choices) {
    return choices.begin()[whole(0, std::ssize(choices) - 1)];
  }
  unsigned seed() { return static_cast<unsigned>(bits_()); }

  /// 1 to 70, often beside a multiple of a vector; seldom an odd number above.
  int64_t channels();
  /// [N,H,W,C] with `channels` of them (0: drawn). Seldom so many images that threads share them.
  Shape images(int64_t channels = 0);
  /// Any number of dimensions.
  Shape shape();
  /// Of a flat range, seldom so long that threads share it.
  int64_t length();
  /// A window, dilated or not, that fits on images `x`.
  Window window(const Shape& x, int64_t most = 4, bool dilated = false);
  /// What images may be made of: f32, and on a device f16 and bf16.
  DType dtype();

  /// Uniform or integer values; the latter's sums are exact.
  Buffer uniform(const Shape& shape, float low = -1, float high = 1, DType dtype = DType::f32);
  Buffer integers(const Shape& shape, int low = -4, int high = 4, DType dtype = DType::f32);
  /// A batch's samples of which some are padding; `valid` is how many are not.
  Buffer lane(int64_t samples, int64_t& valid, int64_t first = 0);

  /// The operator's outputs. It is run twice: with other values in what is not written yet, at other addresses, on
  /// another number of threads, and in place where it may be: the bits must be the same.
  std::vector<Buffer> run(const Op& op, const std::vector<Buffer>& in, const Contract& contract = {});

  /// What a result is, and whether it is as expected; NaN never is. `relative` is of Sum::size, besides the rounding to
  /// the type of `got`.
  void near(const std::string& what, const Buffer& got, const Sums& expected, double relative = 2e-6,
            double absolute = 1e-36);
  void near(const std::string& what, double got, const Sum& expected, double relative = 2e-6, double absolute = 1e-36);
  void equal(const std::string& what, const Buffer& got, const std::vector<double>& expected);
  void expect(bool holds, const std::string& what);

  /// What is wrong, with the operator and its types; empty where nothing is.
  const std::string& fault() const { return fault_; }
  bool ran(const std::type_info& op) const { return ran_.contains(op); }
  int runs() const { return runs_; }

 private:
  std::string name_;
  std::mt19937_64 bits_;
  const KernelTable& kernels_;
  std::string subject_, fault_;
  std::set<std::type_index> ran_;
  int runs_ = 0;
};

/// A case of each operator; an operator without one does not link, and the message names it.
template <class OpClass>
void property(Case& c);

}  // namespace lockstep::test

#include "layers/ops.h"
namespace lockstep::test {
#define LOCKSTEP_OP(Class) \
  template <>              \
  void property<Class>(Case & c);
#include "layers/list.inc"
}  // namespace lockstep::test
