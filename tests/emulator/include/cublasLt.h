// Names of cuBLASLt that headers of the CUDA backend mention; tests/emulator/library.cpp takes the library's place.
#pragma once

#include "cuda_runtime_api.h"

using cublasLtHandle_t = struct cublasLtContext*;
enum cublasStatus_t { CUBLAS_STATUS_SUCCESS = 0, CUBLAS_STATUS_INTERNAL_ERROR = 14 };

inline cublasStatus_t cublasLtDestroy(cublasLtHandle_t) { return CUBLAS_STATUS_SUCCESS; }
