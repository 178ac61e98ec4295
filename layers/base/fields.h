// Options of layers by name: written to JSON, read from it, listed.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/shape.h"
#include "layers/base/padding.h"
#include "layers/base/regularizer.h"

namespace lockstep {

enum class Interpolation : unsigned char { nearest, bilinear };
/// What a layer ends in, with Keras' names and parameters: gelu is the exact one, elu has alpha 1, leaky_relu has slope
/// 0.2 (the layer LeakyReLU: 0.3).
enum class Activation : unsigned char {
  linear,
  relu,
  softmax,
  sigmoid,
  tanh,
  silu,
  gelu,
  elu,
  leaky_relu,
  relu6,
  hard_sigmoid,
  hard_silu,
  swish = silu,
  hard_swish = hard_silu,
};
/// "leaky_relu".
std::string_view name_of(Activation activation);

/// Visits a layer's options: writes them to JSON, reads them from it, or lists them. Implemented in network_json.cpp.
class Fields {
 public:
  virtual ~Fields() = default;
  /// `required` options have no default: reading fails where they are missing.
  virtual void field(std::string_view key, int64_t& value, bool required = false) = 0;
  virtual void field(std::string_view key, Size2& value, bool required = false) = 0;
  virtual void field(std::string_view key, std::vector<int64_t>& value, bool required = false) = 0;
  virtual void field(std::string_view key, float& value, bool required = false) = 0;
  virtual void field(std::string_view key, bool& value, bool required = false) = 0;
  /// A number, or null for none.
  virtual void field(std::string_view key, std::optional<float>& value) = 0;
  virtual void field(std::string_view key, Regularizer& value) = 0;
  virtual void field(std::string_view key, Padding& value) = 0;
  void field(std::string_view key, Interpolation& value) { choice(key, value, {"nearest", "bilinear"}); }
  /// "swish" and "hard_swish" are read as well.
  void field(std::string_view key, Activation& value, bool required = false);

 protected:
  /// An index into `names`.
  virtual void choose(std::string_view key, int& index, std::span<const std::string> names, bool required) = 0;

 private:
  template <class Enum>
  void choice(std::string_view key, Enum& value, std::vector<std::string> names) {
    int index = static_cast<int>(value);
    choose(key, index, names, false);
    value = static_cast<Enum>(index);
  }
};

}  // namespace lockstep
