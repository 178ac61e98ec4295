# The second backend, of all floors: a module, which programs load where there is a driver (launch/backends).
if(NOT LOCKSTEP_CUDA_FOUND)
  return()
endif()
file(GLOB_RECURSE cuda_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/core/cuda/*.cpp ${PROJECT_SOURCE_DIR}/core/cuda/*.cu
  ${PROJECT_SOURCE_DIR}/layers/cuda/*.cpp ${PROJECT_SOURCE_DIR}/layers/cuda/*.cu)
set(nccl_sources ${PROJECT_SOURCE_DIR}/parallel/comm/nccl/absent.cpp)
if(TARGET NCCL::nccl)
  file(GLOB nccl_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/parallel/comm/nccl/*.cpp)
  list(FILTER nccl_sources EXCLUDE REGEX "/absent\\.cpp$")
endif()
add_library(lockstep_cuda MODULE ${cuda_sources} ${nccl_sources} ${PROJECT_SOURCE_DIR}/launch/backends/cuda.cpp)
share(lockstep_cuda)
set_target_properties(lockstep_cuda PROPERTIES LIBRARY_OUTPUT_DIRECTORY "${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/lockstep"
  INSTALL_RPATH_USE_LINK_PATH ON)
# cuDNN's headers take long to compile: less without their JSON, which nothing here uses.
set_source_files_properties(${PROJECT_SOURCE_DIR}/layers/cuda/cudnn/convolution.cpp PROPERTIES
  COMPILE_OPTIONS -O1 COMPILE_DEFINITIONS CUDNN_FRONTEND_SKIP_JSON_LIB)
# Formulas are written once for both backends, as constexpr functions.
set(formulas activations/activation.cu normalization/moments.cu optimizers/norms.cu optimizers/update.cu)
list(TRANSFORM formulas PREPEND ${PROJECT_SOURCE_DIR}/layers/cuda/)
set_source_files_properties(${formulas} PROPERTIES COMPILE_OPTIONS --expt-relaxed-constexpr)
target_link_libraries(lockstep_cuda PRIVATE lockstep_layers lockstep_parallel
  CUDA::cudart_static CUDA::cublasLt CUDA::nvrtc CUDNN::cudnn)
if(TARGET NCCL::nccl)
  target_link_libraries(lockstep_cuda PRIVATE NCCL::nccl)
endif()
