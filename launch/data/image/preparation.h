// How images become what a network reads. One description: made where data is opened, kept with a run and in packed
// files, and followed wherever images are read for that network. Any thread may call.
#pragma once

#include <array>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "launch/data/fit.h"

namespace lockstep {

/// What was done to images, but for their normalisation.
struct Preparation {
  int64_t height = 0, width = 0, channels = 0;  // of what was made of them
  std::vector<Fit> fits = {};                   // one after the other; none where images are as they came

  bool operator==(const Preparation&) const = default;
};

/// Height and width from "32" or "32x48". Throws InputError that shows the form.
std::array<int64_t, 2> parse_size(const std::string& text);
/// "224" or "224x256", which is done as `how` says; or "224:256", the middle of an image whose shorter side is brought
/// to 256. Throws InputError.
Fit parse_fit(const std::string& text, Fit::How how);

nlohmann::ordered_json to_json(const Preparation& preparation);
/// Throws InputError that names `where` for anything but what to_json gives.
Preparation preparation_from_json(const nlohmann::ordered_json& json, const std::string& where);

/// Those of `wanted` that are still to be done to images to which `done` was done. Where nothing is wanted, images are
/// taken as they come. Throws InputError that names the data where what was done is not how `wanted` begins.
std::vector<Fit> still_to_do(const std::vector<Fit>& wanted, const std::vector<Fit>& done, const std::string& data);

}  // namespace lockstep
