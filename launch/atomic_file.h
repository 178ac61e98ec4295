// Writing a file whole or not at all. Any thread.
#pragma once

#include <string>
#include <string_view>

namespace lockstep {

/// Writes to a temporary name in the same folder, syncs, renames. Throws Error with the path and the system's reason;
/// then nothing of the temporary file is left and an old file is as it was.
void write_atomically(const std::string& path, std::string_view bytes);

}  // namespace lockstep
