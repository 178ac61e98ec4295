// What a machine has of one kind of device. Values; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace lockstep {

struct DeviceInfo {
  int index = 0;
  std::string name;   // "NVIDIA H200"
  std::string pci;    // "0000:18:00.0"
  size_t memory = 0;  // bytes
};

/// How one device reaches the memory of another.
enum class DeviceLink : uint8_t { self, nvlink, pcie, none };

struct DeviceStatus {
  std::string runtime = {};  // its version, "13.0"; empty where there is none
  int devices = 0;
  std::string text = {};  // for people: runtime and devices, or why there is none
};

}  // namespace lockstep
