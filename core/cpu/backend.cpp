#include "core/backend.h"

#include <omp.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "core/cpu/float_environment.h"
#include "core/cpu/streams.h"
#include "core/error.h"

namespace lockstep {
namespace {

constexpr size_t cache_line = 64, huge_page = size_t{2} << 20;

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(int threads) {
    if (threads < 1) throw InputError("{} compute threads per rank, expected at least 1", threads);
    // oneDNN's kernels are made for so many threads and would wait for the missing ones.
    const int most = omp_get_max_active_levels() < 1 ? 1 : omp_get_thread_limit();
    if (threads > most)
      throw InputError("{} compute threads per rank, but OMP_THREAD_LIMIT or OMP_MAX_ACTIVE_LEVELS allows {}", threads,
                       most);
    omp_set_dynamic(0);
    omp_set_num_threads(threads);
    flush_subnormals_to_zero();
#pragma omp parallel num_threads(threads)
    flush_subnormals_to_zero();
  }

  std::string name() const override { return "cpu"; }
  std::unique_ptr<Stream> compute_stream() override { return std::make_unique<InlineStream>(); }
  std::unique_ptr<Stream> side_stream() override { return std::make_unique<WorkerStream>(); }

  std::byte* allocate(size_t bytes) override {
    const size_t alignment = bytes >= huge_page ? huge_page : cache_line;
    const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    void* memory = rounded >= bytes ? std::aligned_alloc(alignment, rounded) : nullptr;
    if (!memory)
      throw Error("out of memory: cannot allocate {} bytes ({:.2f} GiB)", bytes, static_cast<double>(bytes) / 0x1p30);
    // Advice only: where huge pages are off, the arena works with small ones.
    if (alignment == huge_page) static_cast<void>(madvise(memory, rounded, MADV_HUGEPAGE));
    // Also takes the page faults now, on the rank's own thread and memory node, and not in the first step.
    std::memset(memory, 0, rounded);
    return static_cast<std::byte*>(memory);
  }

  void release(std::byte* memory) noexcept override { std::free(memory); }

  void copy(std::byte* to, const std::byte* from, size_t bytes) override {
    if (bytes) std::memcpy(to, from, bytes);
  }
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(int threads) { return std::make_unique<CpuBackend>(threads); }

}  // namespace lockstep
