#include "tests/properties/case.h"

#include <omp.h>

#include <bit>

#include "core/step_state.h"
#include "tests/properties/guarded.h"

namespace lockstep::test {

namespace {

float from_bfloat(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }
uint16_t to_bfloat(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

/// What rounding to the type changes at most, as a part of the number; a little more.
double half_step(DType dtype) {
  if (dtype == DType::f16) return 0x1.02p-11;
  return dtype == DType::bf16 ? 0x1.02p-8 : 0;
}

Buffer as_dtype(const Buffer& wide, DType dtype) {
  return dtype == DType::f32 ? wide : holding({wide.shape(), dtype}, numbers(wide));
}

uint64_t mixed(const std::string& name, uint64_t seed) {
  uint64_t hash = seed * 0x9E3779B97F4A7C15 + 0xCBF29CE484222325;
  for (const char letter : name) hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001B3;
  return hash;
}

std::string types(const std::vector<Type>& of) {
  std::string text;
  for (const Type& type : of) text += (text.empty() ? "" : ", ") + type.str();
  return text;
}

}  // namespace

double number(const Buffer& buffer, size_t i) {
  switch (buffer.type().dtype) {
    case DType::f32:
      return double{buffer[i]};
    case DType::f16:
      return static_cast<double>(buffer.as<_Float16>()[i]);
    case DType::bf16:
      return double{from_bfloat(buffer.as<uint16_t>()[i])};
    case DType::i32:
      return static_cast<double>(buffer.as<int32_t>()[i]);
    case DType::u8:
      return static_cast<double>(buffer.as<uint8_t>()[i]);
  }
  return std::nan("");
}

std::vector<double> numbers(const Buffer& buffer) {
  std::vector<double> all(count(buffer));
  for (size_t i = 0; i < all.size(); ++i) all[i] = number(buffer, i);
  return all;
}

Buffer holding(Type type, const std::vector<double>& values) {
  Buffer buffer(type);
  if (values.size() != count(buffer)) throw Error("{} values for {}", values.size(), type.str());
  for (size_t i = 0; i < values.size(); ++i) {
    const auto x = static_cast<float>(values[i]);
    switch (type.dtype) {
      case DType::f32:
        buffer[i] = x;
        break;
      case DType::f16:
        buffer.as<_Float16>()[i] = static_cast<_Float16>(x);
        break;
      case DType::bf16:
        buffer.as<uint16_t>()[i] = to_bfloat(x);
        break;
      case DType::i32:
        buffer.as<int32_t>()[i] = static_cast<int32_t>(values[i]);
        break;
      case DType::u8:
        buffer.as<uint8_t>()[i] = static_cast<uint8_t>(values[i]);
        break;
    }
  }
  return buffer;
}

Outcome run_guarded(const KernelTable& kernels, const Op& op, const Signature& signature, const std::vector<Buffer>& in,
                    const Calling& calling) {
  const int threads = omp_get_max_threads();
  if (!on_cuda()) omp_set_num_threads(calling.threads);
  const Kernel kernel = kernels.make(op, signature);
  const auto fit = calling.at_end ? Guarded::Fit::back : Guarded::Fit::front;
  std::vector<Guarded> memory;
  std::vector<Tensor> tensors;
  std::vector<std::string> names;
  const auto place = [&](std::string name, const Type& type, Guarded::Fit where) {
    memory.emplace_back(type.bytes(), where);
    memory.back().put(std::vector<std::byte>(type.bytes(), std::byte{calling.poison}));
    tensors.push_back({memory.back().data(), type});
    names.push_back(std::move(name));
  };
  for (size_t i = 0; i < in.size(); ++i) {
    place(fmt::format("input {}", i), in[i].type(), fit);
    memory.back().put(std::as_bytes(in[i].as<unsigned char>()));
  }
  for (size_t i = 0; i < signature.out.size(); ++i) place(fmt::format("output {}", i), signature.out[i], fit);
  const auto bytes = [](size_t n) { return Type{Shape{static_cast<int64_t>(n)}, DType::u8}; };
  place("the workspace", bytes(kernel.workspace), Guarded::Fit::front);
  place("packed memory", bytes(kernel.packed), Guarded::Fit::front);
  std::vector<bool> changes(in.size());
  for (const auto& [out, input] : calling.in_place) {
    tensors[in.size() + out].data = tensors[input].data;
    changes[input] = true;
  }
  const std::span all(tensors);
  const Args args{all.first(in.size()), all.subspan(in.size(), signature.out.size()), all[all.size() - 2].data,
                  all.back().data};
  Stream& stream = *test_backend().stream;
  if (kernel.prepare) kernel.prepare(stream, args);
  if (kernel.run) kernel.run(stream, args);
  stream.synchronize();
  omp_set_num_threads(threads);

  Outcome outcome;
  for (size_t i = 0; i < memory.size(); ++i)
    if (const std::string where = memory[i].trespass(); !where.empty() && outcome.fault.empty())
      outcome.fault = fmt::format("wrote to {}, {}", names[i], where);
  for (size_t i = 0; i < in.size(); ++i) {
    if (changes[i]) continue;
    Buffer now(in[i].type());
    memory[i].get(std::as_writable_bytes(now.as<unsigned char>()));
    if (!same_bits(now, in[i]) && outcome.fault.empty()) outcome.fault = fmt::format("changed input {}", i);
  }
  for (size_t i = 0; i < signature.out.size(); ++i) {
    size_t from = in.size() + i;
    for (const auto& [out, input] : calling.in_place)
      if (out == i) from = input;
    Buffer& out = outcome.out.emplace_back(signature.out[i]);
    memory[from].get(std::as_writable_bytes(out.as<unsigned char>()));
  }
  return outcome;
}

Case::Case(const std::string& operator_name, uint64_t seed, const KernelTable& kernels)
    : name_(operator_name), bits_(mixed(operator_name, seed)), kernels_(kernels), subject_(operator_name) {}

int64_t Case::whole(int64_t low, int64_t high) {
  return low + static_cast<int64_t>(bits_() % static_cast<uint64_t>(high - low + 1));
}

float Case::real(float low, float high) { return low + (high - low) * static_cast<float>(bits_() >> 40) * 0x1p-24F; }

int64_t Case::channels() {
  switch (whole(0, 7)) {
    case 0:
    case 1:
      return std::max<int64_t>(one_of({4, 8, 16, 24, 32, 48, 64}) + whole(-1, 1), 1);
    case 2:
      return 2 * whole(35, 65) + 1;
    case 3:
      return whole(1, 9);
    default:
      return whole(1, 70);
  }
}

Shape Case::images(int64_t channels) {
  const int64_t c = channels > 0 ? channels : this->channels();
  const int64_t pixels = std::max<int64_t>((on_cuda() ? 1500 : 4000) / c, 1);
  const int64_t h = std::min(whole(1, 11), pixels), w = std::min(whole(1, 11), std::max<int64_t>(pixels / h, 1));
  const int64_t n = std::clamp<int64_t>(whole(1, 5), 1, std::max<int64_t>(pixels / (h * w), 1));
  // Enough for several threads, or several blocks a channel.
  if (one_in(on_cuda() ? 20 : 10)) return {(on_cuda() ? 12000 : 40000) / (h * w * c) + 1, h, w, c};
  return {n, h, w, c};
}

int64_t Case::length() { return one_in(8) && !on_cuda() ? whole(40000, 50000) : whole(1, 700); }

Shape Case::shape() {
  switch (whole(0, 3)) {
    case 0:
      return {length()};
    case 1:
      return {whole(1, 9), channels()};
    default:
      return images();
  }
}

Window Case::window(const Shape& x, int64_t most, bool dilated) {
  for (;;) {
    Window window;
    const bool plain = coin();  // the layers' default: windows side by side
    for (size_t d = 0; d < 2; ++d) {
      window.size[d] = std::min(whole(1, most), x[static_cast<int>(d) + 1] + 1);
      window.dilation[d] = dilated && one_in(3) ? whole(2, 3) : 1;
      window.stride[d] = plain && !dilated ? window.size[d] : whole(1, 3);
      if (plain && !dilated) continue;
      window.pad_before[d] = std::min(whole(0, 2), window.extent(d) - 1);
      window.pad_after[d] = std::min(whole(0, 2), window.extent(d) - 1);
    }
    const bool fits = [&] {
      for (size_t d = 0; d < 2; ++d)
        if (x[static_cast<int>(d) + 1] + window.pad_before[d] + window.pad_after[d] < window.extent(d)) return false;
      return true;
    }();
    if (fits) return window;
  }
}

DType Case::dtype() { return on_cuda() ? one_of({DType::f32, DType::f32, DType::f16, DType::bf16}) : DType::f32; }

Buffer Case::uniform(const Shape& shape, float low, float high, DType dtype) {
  return as_dtype(test::uniform(shape, seed(), low, high), dtype);
}

Buffer Case::integers(const Shape& shape, int low, int high, DType dtype) {
  return as_dtype(test::integers(shape, seed(), low, high), dtype);
}

Buffer Case::lane(int64_t samples, int64_t& valid, int64_t first) {
  valid = coin() ? samples : whole(0, samples);
  return state_buffer(LaneState{.first = first, .valid = valid});
}

std::vector<Buffer> Case::run(const Op& op, const std::vector<Buffer>& in, const Contract& contract) {
  Signature signature;
  for (const Buffer& buffer : in) signature.in.push_back(buffer.type());
  signature.out = op.infer(signature.in);
  subject_ = fmt::format("{} {} ({}) -> ({})", op.name(), op.attributes(), types(signature.in), types(signature.out));
  ran_.insert(typeid(op));
  ++runs_;
  Calling other{.at_end = true, .threads = static_cast<int>(whole(1, 3)), .poison = 0x3C};
  const Outcome first = run_guarded(kernels_, op, signature, in, {.threads = contract.by_threads ? other.threads : 1});
  expect(first.fault.empty(), first.fault);
  if (!fault_.empty()) return first.out;  // what writes beyond its memory would end the program in the other run
  if (op.reuse() == Reuse::in_place) {
    if (coin()) other.in_place.emplace_back(0, 0);
    for (const auto& pair : contract.in_place)
      if (coin()) other.in_place.push_back(pair);
  }
  const Outcome second = run_guarded(kernels_, op, signature, in, other);
  expect(second.fault.empty(), second.fault);
  for (size_t i = 0; i < first.out.size(); ++i)
    if (const auto same = same_bits(first.out[i], second.out[i]); !same)
      expect(false, fmt::format("output {} of two runs ({} threads{}): {}", i, other.threads,
                                other.in_place.empty() ? "" : ", in place", same.message()));
  return first.out;
}

void Case::near(const std::string& what, double got, const Sum& expected, double relative, double absolute) {
  if (!(std::abs(got - expected.value) <= relative * expected.size + absolute))
    expect(false, fmt::format("{} is {}, expected {} (terms of {} in all)", what, got, expected.value, expected.size));
}

void Case::near(const std::string& what, const Buffer& got, const Sums& expected, double relative, double absolute) {
  if (count(got) != expected.size())
    return expect(false, fmt::format("{} is {}, expected {} elements", what, got.type().str(), expected.size()));
  const DType dtype = got.type().dtype;
  // A 16-bit number below the smallest normal one of f16 is rounded to a multiple of 2^-24.
  const double least = dtype == DType::f16 ? std::max(absolute, 0x1p-24) : absolute;
  for (size_t i = 0; i < expected.size(); ++i) {
    const Sum& want = expected[i];
    const double x = number(got, i), rounding = half_step(dtype) * (std::abs(want.value) + relative * want.size);
    if (!(std::abs(x - want.value) <= relative * want.size + least + rounding))
      return near(fmt::format("{}[{}]", what, i), x, want, relative, least + rounding);
  }
}

void Case::equal(const std::string& what, const Buffer& got, const std::vector<double>& expected) {
  for (size_t i = 0; i < expected.size(); ++i)
    if (!(number(got, i) == expected[i]))
      return expect(false, fmt::format("{}[{}] is {}, expected {}", what, i, number(got, i), expected[i]));
}

void Case::expect(bool holds, const std::string& what) {
  if (!holds && fault_.empty()) fault_ = subject_ + ": " + what;
}

}  // namespace lockstep::test
