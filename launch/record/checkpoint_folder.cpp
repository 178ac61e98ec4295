#include "launch/record/checkpoint_folder.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "launch/files/durable.h"

namespace lockstep {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view start = "step-", writing = ".writing", removing = ".removing";

fs::path with_suffix(fs::path path, std::string_view suffix) { return path += suffix; }

}  // namespace

std::string checkpoint_name(int64_t step) { return fmt::format("{}{:06}", start, step); }

int64_t checkpoint_step(const fs::path& path) {
  const std::string name = path.filename().string();
  if (!name.starts_with(start)) return -1;
  int64_t step = -1;
  const char* end = name.data() + name.size();
  const auto [stopped, error] = std::from_chars(name.data() + start.size(), end, step);
  return error == std::errc{} && stopped == end && step >= 0 ? step : -1;
}

std::vector<fs::path> list_checkpoints(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (checkpoint_step(entry.path()) >= 0) found.push_back(entry.path());
  std::ranges::sort(found, {}, checkpoint_step);
  return found;
}

namespace {

/// Empty where there is none.
fs::path newest(const fs::path& path) {
  if (checkpoint_step(path) >= 0 || fs::exists(path / "manifest.sha256")) return path;
  for (const fs::path& folder : {path, path / "checkpoints"})
    if (const auto all = list_checkpoints(folder); !all.empty()) return all.back();
  return {};
}

/// "runs/first/" is "runs/first".
fs::path without_slash(const fs::path& path) { return path.has_filename() ? path : path.parent_path(); }

}  // namespace

fs::path find_checkpoint(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error))
    throw InputError("'{}' is no folder{}, expected a checkpoint, or a folder of checkpoints", path.string(),
                     error ? ": " + error.message() : "");
  fs::path found = newest(without_slash(path));
  if (found.empty())
    throw InputError("'{}' holds no checkpoint, expected one, or folders such as {}, there or in 'checkpoints'",
                     path.string(), checkpoint_name(100));
  return found;
}

bool has_checkpoint(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error) && !newest(without_slash(path)).empty();
}

fs::path unfinished(const fs::path& checkpoint) { return with_suffix(checkpoint, writing); }

void remove_checkpoint(const fs::path& checkpoint) {
  const fs::path aside = with_suffix(checkpoint, removing);
  fs::remove_all(aside);
  rename_durably(checkpoint, aside);
  fs::remove_all(aside);
}

void prune_checkpoints(const fs::path& folder, int64_t step, int64_t keep) {
  auto all = list_checkpoints(folder);
  std::erase_if(all, [&](const fs::path& one) { return checkpoint_step(one) > step; });
  for (size_t i = 0; i + static_cast<size_t>(keep) < all.size(); ++i) remove_checkpoint(all[i]);
}

void clear_leftovers(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> left;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const fs::path extension = entry.path().extension();
    if ((extension == writing || extension == removing) && checkpoint_step(entry.path().stem()) >= 0)
      left.push_back(entry.path());
  }
  for (const fs::path& one : left) fs::remove_all(one);
}

}  // namespace lockstep
