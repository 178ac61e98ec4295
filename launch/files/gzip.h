// Whole files read into memory and gzip unpacked (zlib). Any thread may call.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace lockstep {

/// The bytes of a file, or the first `most` of them. Throws InputError with the system's reason when it cannot be read.
std::vector<uint8_t> read_file(const std::filesystem::path& path, size_t most = SIZE_MAX);

/// Unpacks gzip (RFC 1952), several members too. `file` is its name in errors: InputError with the offset in the packed
/// data where it is corrupt, truncated, or followed by something else.
std::vector<uint8_t> gunzip(std::span<const uint8_t> packed, const std::string& file);

}  // namespace lockstep
