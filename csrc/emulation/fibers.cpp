#include "emulation/fibers.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define WITHOUT_SANITIZER __attribute__((no_sanitize_address))
#else
#define WITHOUT_SANITIZER
#endif

namespace vanfast::emulation {
namespace {

constexpr size_t kStack = 256u << 10, kReserve = 16u << 10, kCanary = 64;
constexpr unsigned char kMark = 0xc5;

Fiber *leaving = nullptr, *entered = nullptr;

// No signal-mask system call as in swapcontext. Not inlined: __builtin_longjmp must not jump inside its own function.
[[noreturn]] __attribute__((noinline)) WITHOUT_SANITIZER void resume(void** registers) {
  __builtin_longjmp(registers, 1);
}

[[noreturn]] __attribute__((noinline)) WITHOUT_SANITIZER void enter(const ucontext_t* context) {
  setcontext(context);
  std::abort();  // setcontext returns only when it fails
}

__attribute__((noinline)) WITHOUT_SANITIZER void save_and_resume(void** from, void** to) {
  if (__builtin_setjmp(from) == 0) resume(to);
}

__attribute__((noinline)) WITHOUT_SANITIZER void save_and_enter(void** from, const ucontext_t* to) {
  if (__builtin_setjmp(from) == 0) enter(to);
}

size_t page() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

Fiber::Fiber(void (*entry)()) : entry_(entry) {
  void* memory = mmap(nullptr, page() + kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  mprotect(memory, page(), PROT_NONE);
  stack_ = static_cast<unsigned char*>(memory) + page();
  std::memset(stack_ + kReserve, kMark, kCanary);
  bottom_ = stack_;
  size_ = kStack;
}

Fiber::~Fiber() {
  if (stack_) munmap(stack_ - page(), page() + kStack);
}

void Fiber::restart() {
  started_ = false;
  fake_stack_ = nullptr;
  std::memset(stack_ + kReserve, kMark, kCanary);
}

bool Fiber::overflowed() const {
  for (size_t i = 0; i < kCanary; ++i)
    if (stack_[kReserve + i] != kMark) return true;
  return false;
}

void Fiber::begin() {
  Fiber* const self = entered;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &leaving->bottom_, &leaving->size_);
#endif
  self->entry_();
  std::abort();
}

WITHOUT_SANITIZER void Fiber::switch_to(Fiber& to) {
  leaving = this;
  entered = &to;
#if defined(__SANITIZE_ADDRESS__)
  if (!to.started_ && to.stack_) __asan_unpoison_memory_region(to.stack_, kStack);
  __sanitizer_start_switch_fiber(&fake_stack_, to.bottom_, to.size_);
#endif
  if (to.started_ || !to.stack_) {
    save_and_resume(registers_, to.registers_);
  } else {
    to.started_ = true;
    getcontext(&to.context_);
    to.context_.uc_stack.ss_sp = to.stack_;
    to.context_.uc_stack.ss_size = kStack;
    to.context_.uc_link = nullptr;
    makecontext(&to.context_, &Fiber::begin, 0);
    save_and_enter(registers_, &to.context_);
  }
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack_, &leaving->bottom_, &leaving->size_);
#endif
}

}  // namespace vanfast::emulation
