#include "launch/data/targets.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/error.h"

namespace lockstep {

namespace {

/// Whether the numbers are class indices with one more dimension.
bool rows_of(const Shape& indices, const Shape& numbers) {
  return numbers.rank() == indices.rank() + 1 &&
         std::ranges::equal(numbers.dims().first(static_cast<size_t>(indices.rank())), indices.dims());
}

}  // namespace

void check_targets(const Dataset& data, const Loss& loss, const Shape& prediction, const std::string& model) {
  const Type given = data.target(), wanted = loss.target(prediction);
  const bool indices = given.dtype == DType::i32;
  if (indices && loss.family() == Loss::Family::classes) {
    if (rows_of(given.shape, prediction) && prediction[-1] >= data.classes()) return;
    std::vector<int64_t> dims(given.shape.dims().begin(), given.shape.dims().end());
    dims.push_back(data.classes());
    throw InputError("the data has {} classes, the model '{}' ends in {}, expected {}", data.classes(), model,
                     prediction.str(), Shape(dims).str());
  }
  if (given == wanted) return;
  if (indices && loss.family() == Loss::Family::binary && data.classes() == 2 && rows_of(given.shape, prediction) &&
      prediction[-1] == 1)
    return;
  const std::string what = indices ? fmt::format("one of {} classes, as {} a sample", data.classes(), given.str())
                                   : fmt::format("numbers, {} a sample", given.str());
  throw InputError("the data's targets are {}; {} of the model '{}' takes {}{}", what, loss.name(), model,
                   wanted.dtype == DType::i32 ? "class indices, " : "numbers, ", wanted.str());
}

void Targets::check_label(int64_t sample, int32_t label) const {
  if (label < 0 || label >= data_.classes())
    throw InputError("sample {} has label {}, expected 0 to {}", sample, label, data_.classes() - 1);
}

void Targets::write(std::span<std::byte> to, int64_t sample, int32_t label) const {
  if (given_ == one_class()) check_label(sample, label);
  if (plain()) return;
  if (given_ == wanted_ && given_.dtype != DType::i32) return data_.read_target(sample, to);

  std::vector<int32_t> labels(static_cast<size_t>(given_.shape.elements()), label);
  if (given_ != one_class()) {
    data_.read_target(sample, std::as_writable_bytes(std::span(labels)));
    for (const int32_t one : labels) check_label(sample, one);
  }
  if (given_ == wanted_) {
    std::memcpy(to.data(), labels.data(), to.size());
    return;
  }
  const auto width = static_cast<size_t>(wanted_.shape[-1]);
  auto* numbers = reinterpret_cast<float*>(to.data());
  std::fill_n(numbers, labels.size() * width, 0.0F);
  for (size_t k = 0; k < labels.size(); ++k) {
    if (width == 1)
      numbers[k] = static_cast<float>(labels[k]);
    else
      numbers[k * width + static_cast<size_t>(labels[k])] = 1;
  }
}

}  // namespace lockstep
