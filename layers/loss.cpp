#include "layers/loss.h"

#include <vector>

#include "core/error.h"
#include "layers/cross_entropy.h"

namespace lockstep {

namespace {

const std::vector<std::string>& names() {
  static const std::vector<std::string> all{"sparse_categorical_crossentropy"};
  return all;
}

}  // namespace

Loss::Loss(const std::string& name) { static_cast<void>(index_of("loss", name, names())); }

std::string Loss::name() const { return names()[options_.index()]; }

Type Loss::target(const Shape& prediction) const {
  return {Shape(prediction.dims().first(static_cast<size_t>(prediction.rank()) - 1)), DType::i32};
}

std::shared_ptr<const Op> Loss::op(bool scaled) const { return std::make_shared<CrossEntropyOp>(scaled); }

}  // namespace lockstep
