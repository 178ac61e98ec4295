#include "layers/cuda/context.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include "core/cuda/check.h"

namespace lockstep {

namespace cuda {

void check(cudnnStatus_t status, const char* call, std::source_location where) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  std::array<char, 512> more{};
  cudnnGetLastErrorString(more.data(), more.size() - 1);
  fail(call, fmt::format("{} {}", cudnnGetErrorString(status), more.data()).c_str(), where);
}

void check(cublasStatus_t status, const char* call, std::source_location where) {
  if (status != CUBLAS_STATUS_SUCCESS) fail(call, cublasLtGetStatusString(status), where);
}

Context::Context(Backend& used_backend, const KernelOptions& chosen, std::shared_ptr<EngineChoices> choices)
    : backend(used_backend), options(chosen), engines(std::move(choices)) {
  cudnnHandle_t dnn = nullptr;
  check(cudnnCreate(&dnn), "cudnnCreate");
  cudnn = decltype(cudnn)(dnn);
  cublasLtHandle_t blas = nullptr;
  check(cublasLtCreate(&blas), "cublasLtCreate");
  cublas = decltype(cublas)(blas);
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device), "cudaDeviceGetAttribute");
}

}  // namespace cuda

std::string cudnn_version() {
  const size_t version = cudnnGetVersion();
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

std::string cublas_version() {
  const size_t version = cublasLtGetVersion();
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace lockstep
