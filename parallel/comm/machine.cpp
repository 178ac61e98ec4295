#include "parallel/comm/machine.h"

#include <unistd.h>

#include <array>
#include <fstream>

namespace lockstep {

std::string this_machine() {
  std::string boot;
  if (std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot)) return boot;
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  return host.data();
}

}  // namespace lockstep
