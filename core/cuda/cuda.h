// What this build and this machine have of CUDA. Any thread may ask.
#pragma once

#include <string>

namespace lockstep {

struct CudaStatus {
  std::string runtime;  // version of the runtime that is linked, "13.0"; empty where built without
  int devices = 0;
  std::string text;  // for people: runtime and devices, or why there is none
};

CudaStatus cuda_status();

}  // namespace lockstep
