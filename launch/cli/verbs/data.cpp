#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>

#include "core/error.h"
#include "launch/cli/options/options.h"
#include "launch/cli/verbs/verbs.h"
#include "launch/data/image/encoded_images.h"
#include "launch/data/readers/info.h"

namespace lockstep::cli {

namespace {

void print_set(const char* name, const Dataset& set, const std::vector<std::string>& class_names, int workers) {
  const SetInfo info = look_at(set, workers);
  const auto* files = dynamic_cast<const EncodedImages*>(&set);
  fmt::print("\n{}: {} images of {}{}\n", name, info.samples, info.image_shape.str(),
             !files              ? ""
             : files->one_size() ? ", image files of one size"
                                 : ", image files of several sizes");
  fmt::print("  mean {:.4f}, std {:.4f}\n", fmt::join(info.values.mean, " "), fmt::join(info.values.std, " "));
  for (size_t label = 0; label < info.per_class.size(); ++label)
    fmt::print("  class {:>4} {:>9} {}\n", label, info.per_class[label],
               label < class_names.size() ? class_names[label] : "");
  if (files) fmt::print("  corrupt files {}\n", info.corrupt.size());
  for (const std::string& what : info.corrupt) fmt::print("    {}\n", what);
  fmt::print("  sha256 {}\n", info.sha256);
}

}  // namespace

void data(const Options& options, Runtime& runtime) {
  if (runtime.rank() != 0) return;
  const std::array<std::string, 1> actions{"info"};
  static_cast<void>(index_of("data's action", options.action, actions));
  DataOptions reading = data_options(options, runtime);
  reading.on_corrupt = "skip";  // so that all of them are found
  reading.keep_files = reading.hash_as_read = true;
  Data data = open_data(options.data, reading);
  // Image files of several sizes must be brought to one to be measured.
  const auto* encoded = dynamic_cast<const EncodedImages*>(data.train.get());
  if (encoded && !encoded->one_size() && options.resize.empty())
    for (auto* set : {&data.train, &data.test, &data.validation})
      if (const auto* files = dynamic_cast<const EncodedImages*>(set->get())) *set = files->at_size(224, 224);
  fmt::print("{}, {} classes\n", options.data, data.train->classes());
  const std::pair<const char*, const Dataset*> sets[] = {
      {"train", data.train.get()}, {"test", data.test.get()}, {"validation", data.validation.get()}};
  for (const auto& [name, set] : sets)
    if (set) print_set(name, *set, data.class_names, reading.workers);
}

}  // namespace lockstep::cli
