#include "launch/data/open.h"

#include <array>

#include "core/error.h"
#include "launch/data/digits.h"
#include "launch/data/idx.h"
#include "launch/data/resize.h"
#include "launch/data/synthetic.h"

namespace lockstep {

Data open_data(const std::string& spec) {
  const size_t colon = spec.find(':');
  const std::string kind = spec.substr(0, colon);
  const std::string rest = colon == std::string::npos ? "" : spec.substr(colon + 1);
  if (kind == "digits") {
    if (colon != std::string::npos) throw InputError("data '{}': digits takes nothing behind a colon", spec);
    return open_digits();
  }
  if (kind == "idx") {
    if (rest.empty()) throw InputError("data '{}', expected idx:DIR with the directory of the IDX files", spec);
    return open_idx(rest);
  }
  if (kind == "synthetic") return open_synthetic(rest);
  const std::array<std::string, 3> kinds{"digits", "idx", "synthetic"};
  throw unknown("data", kind, kinds);
}

PreparedData prepare_data(const std::string& spec, const DataOptions& options) {
  PreparedData result{open_data(spec), {}};
  auto& train = result.data.train;
  auto& test = result.data.test;
  if (!options.resize.empty()) {
    const auto size = parse_size(options.resize);
    train = resized(train, size);
    if (test) test = resized(test, size);
  }
  result.normalisation = parse_normalisation(options.normalise, *train);
  if (result.normalisation) {
    train = normalised(train, *result.normalisation);
    if (test) test = normalised(test, *result.normalisation);
  }
  return result;
}

}  // namespace lockstep
