// Which version of the CPU's kernel library is linked, and which instruction set it uses here. Any thread.
#pragma once

#include <string>

namespace lockstep {

/// "2.6.3", as the library says at run time.
std::string onednn_version();
/// "avx512_core_bf16"
std::string onednn_isa();

}  // namespace lockstep
