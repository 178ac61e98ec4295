// NumPy's .npz archives of arrays. Any thread may call.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "launch/data/readers/npy.h"

namespace lockstep {

/// Those of the arrays `names` (without ".npy") that an .npz archive has: a ZIP archive whose members are stored or
/// deflated. What else it holds is not read. Throws InputError with byte and member, for wrong checksums too.
std::map<std::string, Array> parse_npz(std::span<const uint8_t> bytes, const std::string& file,
                                       std::initializer_list<std::string_view> names);

}  // namespace lockstep
