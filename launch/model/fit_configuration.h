// What decides the bits of a fit, as JSON: two fits with the same go through the same states, whatever their ranks and
// strategies. Any thread.
#pragma once

#include <nlohmann/json.hpp>

#include "launch/model/model.h"

namespace lockstep {

/// The name, and all options by theirs.
nlohmann::ordered_json optimizer_json(const Optimizer& optimizer);
nlohmann::ordered_json schedule_json(const Schedule& schedule);

/// `lanes` and `threads` are what the options come to on the machine. How many steps the fit has is part of it only
/// where the learning rate depends on that: otherwise a run may go on for longer than it was meant to.
nlohmann::ordered_json fit_configuration(const Network& network, const CompileOptions& compiled, const Dataset& data,
                                         const FitOptions& options, const FitLength& length, int lanes, int threads);

}  // namespace lockstep
