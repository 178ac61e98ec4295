#include "launch/data/open.h"

#include <charconv>

#include "core/error.h"
#include "launch/data/cifar.h"
#include "launch/data/digits.h"
#include "launch/data/idx.h"
#include "launch/data/image_folder.h"
#include "launch/data/npy.h"
#include "launch/data/packed.h"
#include "launch/data/resize.h"
#include "launch/data/subset.h"
#include "launch/data/synthetic.h"

namespace lockstep {

namespace {

/// Of image files, and of arrays.
struct HowToRead : ImageReading {
  Channels arrays = Channels::last;
};

struct Kind {
  std::string name;
  std::string_view rest;  // what is expected behind the colon
  Data (*open)(const std::string& rest, const HowToRead& reading);
};

/// "224", "224x256" or "224:256".
void parse_image_size(const std::string& text, ImageReading& reading) {
  if (text.empty()) return;
  const size_t colon = std::min(text.find(':'), text.size());
  reading.size = parse_size(text.substr(0, colon));
  if (colon == text.size()) return;
  reading.shorter = parse_size(text.substr(colon + 1))[0];
  if (const int64_t least = std::max(reading.size[0], reading.size[1]);
      reading.shorter < least || text.find('x', colon) != std::string::npos)
    throw InputError("size '{}': the shorter side is one number from {}", text, least);
}

const std::vector<Kind>& kinds() {
  using Text = const std::string&;
  using Reading = const HowToRead&;
  static const std::vector<Kind> all{
      {"digits", "", [](Text, Reading) { return open_digits(); }},
      {"idx", "DIR with the directory of the IDX files", [](Text rest, Reading) { return open_idx(rest); }},
      {"cifar10", "DIR with the directory of the .bin files",
       [](Text rest, Reading reading) { return open_cifar(rest, cifar10, reading.workers); }},
      {"cifar100", "DIR with the directory of the .bin files",
       [](Text rest, Reading reading) { return open_cifar(rest, cifar100, reading.workers); }},
      {"images", "DIR with a folder of images a class",
       [](Text rest, Reading reading) { return open_image_folder(rest, reading); }},
      {"npy", "IMAGES.npy,LABELS.npy", [](Text rest, Reading reading) { return open_npy(rest, reading.arrays); }},
      {"npz", "FILE with x_train and y_train",
       [](Text rest, Reading reading) { return open_npz(rest, reading.arrays); }},
      {"packed", "FILE that lockstep pack wrote",
       [](Text rest, Reading reading) { return open_packed(rest, reading); }},
      {"synthetic", "HxWxC/CLASSES/COUNT", [](Text rest, Reading) { return open_synthetic(rest); }},
  };
  return all;
}

}  // namespace

const std::vector<std::string>& on_corrupt_names() {
  static const std::vector<std::string> names{"stop", "skip"};
  return names;
}

ImageReading image_reading(const DataOptions& options) {
  ImageReading reading{.channels = options.channels,
                       .workers = options.workers,
                       .cache = options.cache,
                       .keep_files = options.keep_files,
                       .hash_as_read = options.hash_as_read};
  parse_image_size(options.resize, reading);
  if (options.channels != 1 && options.channels != 3)
    throw InputError("--channels {}, expected 3, or 1 for grey", options.channels);
  reading.on_corrupt = static_cast<OnCorrupt>(index_of("--on-corrupt", options.on_corrupt, on_corrupt_names()));
  return reading;
}

Data open_data(const std::string& spec, const DataOptions& options) {
  // Whether or not there are image files: nonsense is refused.
  const HowToRead reading{image_reading(options), options.channels_first ? Channels::first : Channels::last};
  const size_t colon = spec.find(':');
  const std::string name = spec.substr(0, colon);
  const std::string rest = colon == std::string::npos ? "" : spec.substr(colon + 1);
  std::vector<std::string> names;
  for (const Kind& kind : kinds()) {
    names.push_back(kind.name);
    if (kind.name != name) continue;
    if (kind.rest.empty() && colon != std::string::npos)
      throw InputError("data '{}': {} takes nothing behind a colon", spec, name);
    if (options.channels_first && name != "npy" && name != "npz")
      throw InputError(
          "data '{}': --channels-first says how arrays lie, expected npy:IMAGES.npy,LABELS.npy or npz:FILE", spec);
    if (!kind.rest.empty() && rest.empty() && name != "synthetic")
      throw InputError("data '{}', expected {}:{}", spec, name, kind.rest);
    return kind.open(rest, reading);
  }
  throw unknown("data", name, names);
}

PreparedData prepare_data(const std::string& spec, const DataOptions& options) {
  PreparedData result{open_data(spec, options), {}};
  Data& data = result.data;
  const std::shared_ptr<const Dataset> files = data.train;
  if (options.validation_split != 0) {
    if (data.validation)
      throw InputError("data '{}' has a validation set: --validation-split {} is one too many", spec,
                       options.validation_split);
    const Split parts =
        (options.stratified ? stratified_split : split)(data.train, options.validation_split, options.seed);
    data.train = parts.rest;
    data.validation = parts.held_out;
  }
  const auto each = [&](const auto& change) {
    for (auto* set : {&data.train, &data.test, &data.validation})
      if (*set) *set = change(*set);
  };
  if (!options.resize.empty() && !std::dynamic_pointer_cast<const EncodedImages>(files)) {
    const auto size = parse_size(options.resize);
    each([&](const auto& set) { return resized(set, size); });
  }
  result.normalisation = parse_normalisation(options.normalise, *data.train, options.workers);
  if (result.normalisation) each([&](const auto& set) { return normalised(set, *result.normalisation); });
  return result;
}

}  // namespace lockstep
