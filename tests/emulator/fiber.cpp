#include "fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <new>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif
#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace emulator {

namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr size_t stack_bytes = size_t{256} << 10;  // its frames are several times as large
#else
constexpr size_t stack_bytes = size_t{64} << 10;
#endif
constexpr uint64_t canary = 0x6B63617453666F45;

}  // namespace

#ifdef __x86_64__

extern "C" void emulator_switch(void** from, void* to);
// Keeps what a function may not change on the stack that is left, and takes it from the one that is entered.
asm(R"(
.text
.globl emulator_switch
.hidden emulator_switch
.type emulator_switch, @function
emulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulator_switch, .-emulator_switch
.globl emulator_begin
.hidden emulator_begin
.type emulator_begin, @function
emulator_begin:
  movq %r12, %rdi
  callq *%r13
  ud2
.size emulator_begin, .-emulator_begin
)");
extern "C" void emulator_begin();

namespace {

void* prepare(std::byte* stack, void (*begin)(Fiber*), Fiber* self) {
  // What emulator_switch takes: r15, r14, r13, r12, rbx, rbp, the return address; then the stack is aligned.
  const uint64_t frame[8] = {0, 0, reinterpret_cast<uint64_t>(begin),           reinterpret_cast<uint64_t>(self),
                             0, 0, reinterpret_cast<uint64_t>(&emulator_begin), 0};
  std::byte* top = stack + stack_bytes - sizeof(frame) - 8;  // at `begin`'s call the stack is a multiple of 16
  std::memcpy(top, frame, sizeof(frame));
  return top;
}
void release(void*, void*) {}

}  // namespace

#else  // slower, for any other processor

extern "C" void emulator_switch(void** from, void* to) {
  ucontext_t* own = static_cast<ucontext_t*>(*from);
  if (!own) *from = own = new ucontext_t;
  swapcontext(own, static_cast<ucontext_t*>(to));
}

namespace {

void enter(unsigned begin_high, unsigned begin_low, unsigned self_high, unsigned self_low) {
  const auto join = [](unsigned high, unsigned low) { return uint64_t{high} << 32 | low; };
  reinterpret_cast<void (*)(Fiber*)>(join(begin_high, begin_low))(reinterpret_cast<Fiber*>(join(self_high, self_low)));
}
void* prepare(std::byte* stack, void (*begin)(Fiber*), Fiber* self) {
  auto* context = new ucontext_t;
  getcontext(context);
  context->uc_stack.ss_sp = stack;
  context->uc_stack.ss_size = stack_bytes;
  const auto b = reinterpret_cast<uint64_t>(begin), s = reinterpret_cast<uint64_t>(self);
  makecontext(context, reinterpret_cast<void (*)()>(enter), 4, static_cast<unsigned>(b >> 32), static_cast<unsigned>(b),
              static_cast<unsigned>(s >> 32), static_cast<unsigned>(s));
  return context;
}
void release(void* inside, void* outside) {
  delete static_cast<ucontext_t*>(inside);
  delete static_cast<ucontext_t*>(outside);
}

}  // namespace

#endif

Fiber::Fiber(void (*main)(void*), void* argument) : main_(main), argument_(argument) {
  void* memory = mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  stack_ = static_cast<std::byte*>(memory);
  std::memcpy(stack_, &canary, sizeof(canary));
  inside_ = prepare(stack_, begin, this);
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(stack_, stack_bytes);
#endif
#ifdef __SANITIZE_THREAD__
  tsan_inside_ = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
#ifdef __SANITIZE_THREAD__
  __tsan_destroy_fiber(tsan_inside_);
#endif
  release(inside_, outside_);
  munmap(stack_, stack_bytes);
}

bool Fiber::overflown() const { return std::memcmp(stack_, &canary, sizeof(canary)) != 0; }

void Fiber::entered([[maybe_unused]] void* fake_stack) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(fake_stack, &outer_stack_, &outer_bytes_);
#endif
}

void Fiber::begin(Fiber* self) {
  self->entered(nullptr);
  self->main_(self->argument_);
}

void Fiber::resume() {
#ifdef __SANITIZE_ADDRESS__
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, stack_, stack_bytes);
#endif
#ifdef __SANITIZE_THREAD__
  tsan_outside_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(tsan_inside_, 0);
#endif
  emulator_switch(&outside_, inside_);
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void Fiber::suspend() {
  void* fake = nullptr;
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(&fake, outer_stack_, outer_bytes_);
#endif
#ifdef __SANITIZE_THREAD__
  __tsan_switch_to_fiber(tsan_outside_, 0);
#endif
  emulator_switch(&inside_, outside_);
  entered(fake);
}

}  // namespace emulator
