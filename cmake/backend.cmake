# The second backend, of all floors: one library, so that the whole of it can be absent, or emulated in tests.
set(nccl_sources ${PROJECT_SOURCE_DIR}/parallel/comm/nccl/absent.cpp)
if(LOCKSTEP_CUDA_FOUND)
  file(GLOB_RECURSE cuda_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/core/cuda/*.cpp ${PROJECT_SOURCE_DIR}/core/cuda/*.cu
    ${PROJECT_SOURCE_DIR}/layers/cuda/*.cpp ${PROJECT_SOURCE_DIR}/layers/cuda/*.cu)
  list(FILTER cuda_sources EXCLUDE REGEX "/absent\\.cpp$")
  if(TARGET NCCL::nccl)
    file(GLOB nccl_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/parallel/comm/nccl/*.cpp)
    list(FILTER nccl_sources EXCLUDE REGEX "/absent\\.cpp$")
  endif()
else()
  set(cuda_sources ${PROJECT_SOURCE_DIR}/core/cuda/absent.cpp ${PROJECT_SOURCE_DIR}/layers/cuda/absent.cpp
    ${PROJECT_SOURCE_DIR}/layers/cuda/engines.cpp)
endif()
add_library(lockstep_cuda STATIC ${cuda_sources} ${nccl_sources})
target_link_libraries(lockstep_cuda PUBLIC lockstep_layers lockstep_parallel PRIVATE nlohmann_json::nlohmann_json)
if(LOCKSTEP_CUDA_FOUND)
  # cuDNN's headers take long to compile: less without their JSON, which nothing here uses.
  set_source_files_properties(${PROJECT_SOURCE_DIR}/layers/cuda/cudnn/convolution.cpp PROPERTIES
    COMPILE_OPTIONS -O1 COMPILE_DEFINITIONS CUDNN_FRONTEND_SKIP_JSON_LIB)
  # Formulas are written once for both backends, as constexpr functions.
  set(formulas activations/activation.cu normalization/moments.cu optimizers/norms.cu optimizers/update.cu)
  list(TRANSFORM formulas PREPEND ${PROJECT_SOURCE_DIR}/layers/cuda/)
  set_source_files_properties(${formulas} PROPERTIES COMPILE_OPTIONS --expt-relaxed-constexpr)
  target_link_libraries(lockstep_cuda PRIVATE CUDA::cudart_static CUDA::cublasLt CUDA::nvrtc CUDNN::cudnn)
  if(TARGET NCCL::nccl)
    target_link_libraries(lockstep_cuda PRIVATE NCCL::nccl)
  endif()
endif()
