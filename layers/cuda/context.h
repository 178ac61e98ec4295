// What the CUDA kernels of one rank share: library handles and how algorithms are chosen. The rank's thread only.
#pragma once

#include <cublasLt.h>
#include <cudnn.h>

#include <source_location>

#include "core/handle.h"
#include "layers/cuda/kernels.h"

namespace lockstep {

#define LOCKSTEP_OP(Class) class Class;
#include "layers/list.inc"

namespace cuda {

struct Context {
  Context(Backend& backend, const KernelOptions& options, std::shared_ptr<EngineChoices> engines);

  Backend& backend;
  KernelOptions options;
  std::shared_ptr<EngineChoices> engines;
  Handle<cudnnHandle_t, cudnnDestroy> cudnn;
  Handle<cublasLtHandle_t, cublasLtDestroy> cublas;
  int multiprocessors = 0;
};
using SharedContext = std::shared_ptr<Context>;

void check(cudnnStatus_t status, const char* call, std::source_location where = std::source_location::current());
void check(cublasStatus_t status, const char* call, std::source_location where = std::source_location::current());

#define LOCKSTEP_OP(Class) Kernel make(const Class& op, const Signature& signature, const SharedContext& context);
#include "layers/list.inc"

}  // namespace cuda
}  // namespace lockstep
