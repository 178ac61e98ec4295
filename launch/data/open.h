// Opens a data set by the name given to --data, and puts resizing and normalisation around it. Any thread may call.
#pragma once

#include <optional>
#include <string>

#include "launch/data/dataset.h"
#include "launch/data/normalise.h"

namespace lockstep {

/// "digits", "idx:DIR" or "synthetic:HxWxC/CLASSES/COUNT[/TESTCOUNT]". Throws InputError with the nearest valid kind.
Data open_data(const std::string& spec);

struct DataOptions {
  std::string resize = {};         // "32" or "32x48"; empty: as it is
  std::string normalise = "auto";  // as parse_normalisation takes it
};

struct PreparedData {
  Data data;
  std::optional<Normalisation> normalisation;  // as applied to both sets; measured on the training set when "auto"
};

/// Opens, resizes, then normalises.
PreparedData prepare_data(const std::string& spec, const DataOptions& options = {});

}  // namespace lockstep
