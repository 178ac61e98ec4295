// The passes that a training step goes through. Plain data, for any thread.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

namespace lockstep {

struct Pass {
  std::string_view name;
  bool of_one_stage = false;  // of a pipeline, each stage has its own
};

/// In their order. The last three show the whole plan: as text, as a table of layers, as a picture.
inline constexpr std::array passes{Pass{"network"},     Pass{"fuse"},         Pass{"autodiff"},
                                   Pass{"place", true}, Pass{"reduce", true}, Pass{"synchronise", true},
                                   Pass{"step", true},  Pass{"layers"},       Pass{"svg"}};

/// The name of one of them; another does not compile.
struct PassName {
  consteval PassName(const char* pass) : name(pass) {
    if (std::ranges::find(passes, name, &Pass::name) == passes.end()) throw "no pass has this name";
  }
  std::string_view name;
};

}  // namespace lockstep
