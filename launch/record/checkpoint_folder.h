// Checkpoints by their names in a folder: "step-000123" is the one after 123 steps. What is being written, or removed,
// has another name. Any thread; one process at a time changes a folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace lockstep {

/// "step-000123"
std::string checkpoint_name(int64_t step);
/// The steps of the name; -1 where it is no checkpoint's.
int64_t checkpoint_step(const std::filesystem::path& path);

/// Checkpoints in the folder, oldest first, whether they are good or not; none where there is no folder.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& folder);

/// The checkpoint that `path` names: itself, or the newest one in it, or in its folder "checkpoints", as a run's folder
/// has. Throws InputError where there is none.
std::filesystem::path find_checkpoint(const std::filesystem::path& path);

/// Whether `path` could be given to find_checkpoint: a folder that is a checkpoint, or has some.
bool has_checkpoint(const std::filesystem::path& path);

/// Removes a checkpoint so that it never looks like one of which a part is missing.
void remove_checkpoint(const std::filesystem::path& checkpoint);

/// Of the checkpoints up to `step`, removes all but the newest `keep`. Later ones are another run's.
void prune_checkpoints(const std::filesystem::path& folder, int64_t step, int64_t keep);

/// Removes what a killed run has left half written or half removed.
void clear_leftovers(const std::filesystem::path& folder);

/// The name under which a checkpoint is written.
std::filesystem::path unfinished(const std::filesystem::path& checkpoint);

}  // namespace lockstep
