#include "launch/data/readers/open.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/registry.h"
#include "launch/data/image/image_files.h"
#include "launch/data/image/image_folder.h"
#include "launch/data/image/packed.h"
#include "launch/data/readers/arrays.h"
#include "launch/data/readers/cifar.h"
#include "launch/data/readers/digits.h"
#include "launch/data/readers/idx.h"
#include "launch/data/readers/synthetic.h"
#include "launch/data/resize.h"
#include "launch/data/subset.h"

namespace lockstep {

namespace {

/// Of image files, and of arrays.
struct HowToRead : ImageReading {
  Channels arrays = Channels::last;
};

struct Kind {
  std::string rest;  // what is expected after the colon; its first word is for help
  std::function<Data(const std::string& rest, const HowToRead& reading)> open;
};

/// How image files are read with these options.
ImageReading image_reading(const DataOptions& options) {
  ImageReading reading{.channels = options.channels,
                       .workers = options.workers,
                       .cache = options.cache,
                       .keep_files = options.keep_files,
                       .hash_as_read = options.hash_as_read};
  if (!options.resize.empty()) {
    reading.fit = parse_fit(options.resize, Fit::How::middle);
  } else if (const auto& wanted = options.preparation) {
    reading.fit = wanted->fits.empty() ? Fit{wanted->height, wanted->width, 0, Fit::How::middle} : wanted->fits[0];
    reading.channels = static_cast<int>(wanted->channels);
  }
  if (options.channels != 1 && options.channels != 3)
    throw InputError("--channels {}, expected 3, or 1 for grey", options.channels);
  reading.on_corrupt = static_cast<OnCorrupt>(index_of("--on-corrupt", options.on_corrupt, on_corrupt_names()));
  return reading;
}

/// What is to be done to the images as they were opened.
std::vector<Fit> fits_to_do(const Data& data, const DataOptions& options) {
  const bool files = std::dynamic_pointer_cast<const EncodedImages>(data.train) != nullptr;
  if (!options.resize.empty())
    return files ? std::vector<Fit>{} : std::vector<Fit>{parse_fit(options.resize, Fit::How::stretch)};
  return options.preparation ? still_to_do(options.preparation->fits, fits_of(*data.train), data.name)
                             : std::vector<Fit>{};
}

/// Splits, resizes, then normalises.
PreparedData prepare(Data data, const DataOptions& options) {
  const std::vector<Fit> fits = fits_to_do(data, options);
  PreparedData result{std::move(data), {}, {}};
  result.preparation.fits = fits_of(*result.data.train);
  Data& sets = result.data;
  if (options.validation_split != 0) {
    if (sets.validation)
      throw InputError("data '{}' has a validation set: --validation-split {} is one too many", sets.name,
                       options.validation_split);
    const Split parts =
        (options.stratified ? stratified_split : split)(sets.train, options.validation_split, options.seed);
    sets.train = parts.rest;
    sets.validation = parts.held_out;
  }
  const auto each = [&](const auto& change) {
    for (auto* set : {&sets.train, &sets.test, &sets.validation})
      if (*set) *set = change(*set);
  };
  for (const Fit& fit : fits) {
    each([&](const auto& set) { return resized(set, fit); });
    result.preparation.fits.push_back(fit);
  }
  const Shape image = sets.train->image_shape();
  result.preparation.height = image[0];
  result.preparation.width = image[1];
  result.preparation.channels = image[2];
  result.normalisation = parse_normalisation(options.normalise, *sets.train, options.workers);
  if (result.normalisation) each([&](const auto& set) { return normalised(set, *result.normalisation); });
  return result;
}

Registry<Kind>& kinds() {
  using Text = const std::string&;
  using Reading = const HowToRead&;
  static Registry<Kind> all(
      "data",
      {{"digits", {"", [](Text, Reading) { return open_digits(); }}},
       {"idx", {"DIR with the directory of the IDX files", [](Text rest, Reading) { return open_idx(rest); }}},
       {"cifar10",
        {"DIR with the directory of the .bin files",
         [](Text rest, Reading reading) { return open_cifar(rest, cifar10, reading.workers); }}},
       {"cifar100",
        {"DIR with the directory of the .bin files",
         [](Text rest, Reading reading) { return open_cifar(rest, cifar100, reading.workers); }}},
       {"images",
        {"DIR with a folder of images a class",
         [](Text rest, Reading reading) { return open_image_folder(rest, reading); }}},
       {"npy", {"IMAGES.npy,LABELS.npy", [](Text rest, Reading reading) { return open_npy(rest, reading.arrays); }}},
       {"npz",
        {"FILE with x_train and y_train", [](Text rest, Reading reading) { return open_npz(rest, reading.arrays); }}},
       {"packed",
        {"FILE that lockstep pack wrote", [](Text rest, Reading reading) { return open_packed(rest, reading); }}},
       {"synthetic", {"HxWxC/CLASSES/COUNT", [](Text rest, Reading) { return open_synthetic(rest); }}}});
  return all;
}

}  // namespace

std::vector<std::string> data_forms() {
  std::vector<std::string> forms;
  for (const std::string& name : kinds().names()) {
    const std::string& rest = kinds().find(name).rest;
    forms.push_back(rest.empty() ? name : fmt::format("{}:{}", name, rest.substr(0, rest.find(' '))));
  }
  return forms;
}

const std::vector<std::string>& on_corrupt_names() {
  static const std::vector<std::string> names{"stop", "skip"};
  return names;
}

Data open_data(const std::string& spec, const DataOptions& options) {
  // Whether or not there are image files: nonsense is refused.
  const HowToRead reading{image_reading(options), options.channels_first ? Channels::first : Channels::last};
  const size_t colon = spec.find(':');
  const std::string name = spec.substr(0, colon);
  const std::string rest = colon == std::string::npos ? "" : spec.substr(colon + 1);
  const Kind& kind = kinds().find(name);
  if (kind.rest.empty() && colon != std::string::npos)
    throw InputError("data '{}': {} takes nothing after a colon", spec, name);
  if (options.channels_first && name != "npy" && name != "npz")
    throw InputError("data '{}': --channels-first says how arrays lie, expected npy:IMAGES.npy,LABELS.npy or npz:FILE",
                     spec);
  if (!kind.rest.empty() && rest.empty() && name != "synthetic")
    throw InputError("data '{}', expected {}:{}", spec, name, kind.rest);
  return kind.open(rest, reading);
}

void register_reader(const std::string& name, const std::string& expects, OpenReader open) {
  kinds().add(name,
              {expects, [open = std::move(open)](const std::string& rest, const HowToRead&) { return open(rest); }});
}

PreparedData prepare_data(const std::string& spec, const DataOptions& options) {
  return prepare(open_data(spec, options), options);
}

PreparedData prepare_files(const std::vector<std::string>& paths, int classes, const DataOptions& options) {
  const ImageReading reading = image_reading(options);
  Data data{"image files", open_image_files(paths, classes, reading), nullptr};
  DataOptions whole = options;
  whole.validation_split = 0;
  return prepare(std::move(data), whole);
}

}  // namespace lockstep
