// A function on a stack of its own that can be left in its midst and resumed. Used by one thread.
#pragma once

#include <cstddef>

namespace emulator {

class Fiber {
 public:
  /// `main` must not return: it calls `suspend` for ever.
  Fiber(void (*main)(void*), void* argument);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// From outside: runs until the fiber suspends itself.
  void resume();
  /// From inside: returns at the next `resume`.
  void suspend();
  /// Whether more of the stack was used than there is. The fiber is then broken, and so may be its neighbour.
  bool overflown() const;

 private:
  static void begin(Fiber* self);
  void entered(void* fake_stack);

  void (*main_)(void*);
  void* argument_;
  std::byte* stack_;
  void* inside_ = nullptr;  // where either side goes on
  void* outside_ = nullptr;
  // What sanitizers have to be told.
  void* tsan_inside_ = nullptr;
  void* tsan_outside_ = nullptr;
  const void* outer_stack_ = nullptr;
  size_t outer_bytes_ = 0;
};

}  // namespace emulator
