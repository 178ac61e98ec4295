// A view of dense, channels-last data that an arena owns. Copying a Tensor copies the view, never the data.
#pragma once

#include <cstddef>
#include <string>

#include "core/dtype.h"
#include "core/shape.h"

namespace lockstep {

/// What a tensor is, without its data.
struct Type {
  Shape shape;
  DType dtype = DType::f32;

  size_t bytes() const { return static_cast<size_t>(shape.elements()) * size_of(dtype); }
  /// "f32[32, 28, 28, 1]"
  std::string str() const { return std::string(name_of(dtype)) + shape.str(); }
  bool operator==(const Type&) const = default;
};

struct Tensor {
  std::byte* data = nullptr;
  Type type;

  const Shape& shape() const { return type.shape; }
  int64_t elements() const { return type.shape.elements(); }
  /// The data as elements of T. The caller knows the dtype: kernels are made for it.
  template <class T = float>
  T* as() const {
    return reinterpret_cast<T*>(data);
  }
};

}  // namespace lockstep
