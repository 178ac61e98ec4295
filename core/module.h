// Loads parts of Lockstep, and libraries, that not every machine has. Any thread may call.
#pragma once

#include <filesystem>
#include <string>

namespace lockstep {

/// A shared object that stays loaded until the process ends; or why it is not.
struct Module {
  void* handle = nullptr;
  std::string why = {};  // as the loader says it: "libcudnn.so.9: cannot open shared object file: …"

  /// The function of that name; null where there is none.
  void* function(const char* name) const;
};

/// By its path, or by a name without a slash, which is looked for where the system's libraries are.
Module load_module(const std::filesystem::path& file);

/// Where modules lie: the folder lockstep/ beside the library that this function is in.
std::filesystem::path module_folder();

}  // namespace lockstep
