#include "layers/precision.h"

#include <vector>

#include "core/error.h"

namespace lockstep {

namespace {
const std::vector<std::string> names{"fp32", "tf32", "bf16", "fp16"};
}

Precision precision_from_name(const std::string& name) {
  return static_cast<Precision>(index_of("precision", name, names));
}

std::string name_of(Precision precision) { return names[static_cast<size_t>(precision)]; }

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
