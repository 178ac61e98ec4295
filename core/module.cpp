#include "core/module.h"

#include <dlfcn.h>

namespace lockstep {

void* Module::function(const char* name) const { return handle ? dlsym(handle, name) : nullptr; }

Module load_module(const std::filesystem::path& file) {
  // All of its symbols now: what is missing is found here, not in the middle of a run.
  Module module{.handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL)};
  if (!module.handle) module.why = dlerror();
  return module;
}

std::filesystem::path module_folder() {
  Dl_info here{};
  dladdr(reinterpret_cast<void*>(&module_folder), &here);
  std::error_code none;
  const std::filesystem::path library = std::filesystem::weakly_canonical(here.dli_fname, none);
  return library.parent_path() / "lockstep";
}

}  // namespace lockstep
