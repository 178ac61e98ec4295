// Strategies as the command line names them: axes with sizes, or a JSON file. Any thread.
#pragma once

#include <string>

#include "parallel/mesh/strategy.h"

namespace lockstep {

/// As parse_strategy, or the path of a file that ends in ".json":
///   {"mesh": {"space_h": 2, "filter": 2}, "pins": [{"layers": "stage4/*", "place": {"space_h": "whole"}}]}
/// "mesh" gives axes in order with their sizes; "place" says for axes what the layers of the pattern are cut by:
/// "height", "width", "filters", "channels", or "whole" for no cut. Throws InputError with the file's line and key.
Strategy read_strategy(const std::string& text);

}  // namespace lockstep
