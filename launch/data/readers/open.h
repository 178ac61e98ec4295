// Opens a data set by the name given to --data, splits it, and puts resizing and normalisation around it. Any thread
// may call.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "launch/data/dataset.h"
#include "launch/data/image/preparation.h"
#include "launch/data/normalise.h"

namespace lockstep {

/// How a data set is opened, beside its name.
struct DataOptions {
  /// "32" or "32x48"; empty: as it is. Image files: as much of each as has these proportions. Other images are
  /// stretched. "32:40": the middle of all, once the shorter side was brought to 40.
  std::string resize = {};
  std::string normalise = "auto";   // as parse_normalisation takes it
  int channels = 3;                 // of image files: 3, or 1 for grey
  bool channels_first = false;      // of arrays with four sides: see Channels
  std::string on_corrupt = "stop";  // image files that cannot be decoded: stop, or skip (see encoded_images.h)
  float validation_split = 0;       // the share of the training set that becomes the validation set
  bool stratified = false;          // that share of each class: stratified_split
  uint64_t seed = 0;                // of the split
  int workers = 1;                  // threads that unpack, look at and hash files
  bool cache = false;               // of image files: what was decoded is kept in memory, a byte a value
  bool keep_files = false;    // image files of several sizes are let pass without `resize`: to be packed, not read
  bool hash_as_read = false;  // of image files: see ImageReading
  /// Where `resize` is empty: what was done to the images that a model was trained on, to be done to these.
  std::optional<Preparation> preparation = {};
};

/// What data can be named by, for people: "digits", "idx:DIR", …
std::vector<std::string> data_forms();
/// Data of one of these forms; "synthetic:HxWxC/CLASSES/COUNT" may have "/TESTCOUNT" after it. Throws InputError with
/// the nearest valid kind. Image files are brought to their first size here: see fits_of.
Data open_data(const std::string& spec, const DataOptions& options = {});

/// Opens a data set from what follows the colon of its name.
using OpenReader = std::function<Data(const std::string& rest)>;
/// Adds a kind of data to those above: "NAME:REST", where `expects` says what REST is ("FILE.csv"), or empty where the
/// kind takes none. For the main thread, before data are opened. Throws InputError where the name is taken.
void register_reader(const std::string& name, const std::string& expects, OpenReader open);

/// Of DataOptions::on_corrupt.
const std::vector<std::string>& on_corrupt_names();

struct PreparedData {
  Data data;
  std::optional<Normalisation> normalisation;  // as applied to all sets; measured on the training set when "auto"
  Preparation preparation;                     // all that was done to the images before it
};

/// Opens, splits, resizes, then normalises.
PreparedData prepare_data(const std::string& spec, const DataOptions& options = {});

/// The same of single image files, without labels, as one set of `classes`: see open_image_files.
PreparedData prepare_files(const std::vector<std::string>& paths, int classes, const DataOptions& options);

}  // namespace lockstep
