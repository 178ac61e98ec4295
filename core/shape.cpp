#include "core/shape.h"

#include <fmt/ranges.h>

#include "core/error.h"

namespace lockstep {

Shape::Shape(std::initializer_list<int64_t> dims) : Shape(std::span(dims.begin(), dims.size())) {}

Shape::Shape(std::span<const int64_t> dims) : rank_(static_cast<int>(dims.size())) {
  if (dims.size() > max_rank)
    throw Error("shape [{}] has {} dimensions, at most {} are supported", fmt::join(dims, ", "), dims.size(), max_rank);
  for (size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] < 0) throw Error("shape [{}] has a negative dimension", fmt::join(dims, ", "));
    dims_[i] = dims[i];
  }
}

size_t Shape::index(int i) const {
  const int at = i < 0 ? i + rank_ : i;
  if (at < 0 || at >= rank_) throw Error("dimension {} of shape {} does not exist", i, str());
  return static_cast<size_t>(at);
}

int64_t Shape::elements() const {
  int64_t product = 1;
  for (int64_t dim : dims())
    if (__builtin_mul_overflow(product, dim, &product)) throw InputError("{} has more than 2^63 elements", str());
  return product;
}

std::string Shape::str() const { return fmt::format("[{}]", fmt::join(dims(), ", ")); }

}  // namespace lockstep
