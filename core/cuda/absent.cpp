// Takes the place of the other files here where no CUDA toolkit was found.
#include "core/cuda/cuda.h"
#include "core/error.h"

namespace lockstep {

CudaStatus cuda_status() { return {.runtime = {}, .devices = 0, .text = "built without"}; }
std::vector<CudaDevice> cuda_devices() { return {}; }
CudaLink cuda_link(int, int) { return CudaLink::none; }
void cuda_enable_peer(int) {}
std::unique_ptr<Backend> make_cuda_backend(int) { throw InputError("no CUDA: this program was built without it"); }

}  // namespace lockstep
