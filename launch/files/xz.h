// xz unpacked (liblzma). Any thread may call.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lockstep {

/// Unpacks .xz data, several streams too, and verifies its checks. `file` is its name in errors: InputError with the
/// offset in the packed data where it is corrupt, truncated, or followed by something else.
std::vector<uint8_t> unxz(std::span<const uint8_t> packed, const std::string& file);

}  // namespace lockstep
