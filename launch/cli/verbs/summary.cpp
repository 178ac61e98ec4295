#include <fmt/format.h>

#include "launch/cli/options/options.h"
#include "launch/cli/verbs/verbs.h"

namespace lockstep::cli {

void summary(const Options& options, Runtime& runtime) {
  if (runtime.rank() != 0) return;
  DataOptions reading = data_options(options, runtime);
  reading.normalise = "none";
  const Data data = prepare_data(options.data, reading).data;
  fmt::print("{}", network(options, data.train->image_shape(), data.train->classes()).summary());
}

}  // namespace lockstep::cli
