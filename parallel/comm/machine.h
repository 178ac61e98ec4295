// Which machine a process runs on. Any thread may ask.
#pragma once

#include <string>

namespace lockstep {

/// Tells machines apart, until they are restarted. Containers of one machine share it, whatever their hosts' names.
std::string this_machine();

}  // namespace lockstep
