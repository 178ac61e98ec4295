#include <fmt/format.h>

#include "launch/cli/options/options.h"
#include "launch/cli/verbs/verbs.h"
#include "launch/data/image/encoded_images.h"
#include "launch/data/image/packed.h"

namespace lockstep::cli {

void pack(const Options& options, Runtime& runtime) {
  if (runtime.rank() != 0) return;
  DataOptions reading = data_options(options, runtime);
  reading.normalise = "none";
  reading.keep_files = options.resize.empty();
  const Data data = prepare_data(options.data, reading).data;
  const bool keep = reading.keep_files && dynamic_cast<const EncodedImages*>(data.train.get());
  const Packed packed = write_packed(data, options.out, keep, reading.workers);
  fmt::print("{}: {} {}, {} bytes\n", options.out, packed.records, keep ? "image files" : "images", packed.bytes);
}

}  // namespace lockstep::cli
