#include "layers/passes/precision.h"

#include "core/error.h"

namespace lockstep {

const std::vector<std::string>& precision_names() {
  static const std::vector<std::string> names{"fp32", "tf32", "bf16", "fp16"};
  return names;
}

Precision precision_from_name(const std::string& name) {
  return static_cast<Precision>(index_of("precision", name, precision_names()));
}

std::string name_of(Precision precision) { return precision_names()[static_cast<size_t>(precision)]; }

DType compute_type(Precision precision) {
  switch (precision) {
    case Precision::bf16:
      return DType::bf16;
    case Precision::fp16:
      return DType::f16;
    default:
      return DType::f32;
  }
}

}  // namespace lockstep
