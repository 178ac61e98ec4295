#include <fmt/format.h>

#include "launch/cli/options.h"

namespace lockstep::cli {

void summary(const Options& options) {
  const Data data = prepare_data(options.data, {options.resize, "none"}).data;
  fmt::print("{}", network(options, data.train->image_shape(), data.train->classes()).summary());
}

}  // namespace lockstep::cli
