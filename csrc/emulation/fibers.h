// Coroutines: functions that run on stacks of their own and hand the processor to each other.
#pragma once

#include <ucontext.h>

#include <cstddef>

namespace vanfast::emulation {

class Fiber {
 public:
  Fiber() = default;  // the stack that the process runs on already
  explicit Fiber(void (*entry)());
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Goes on where `to` stopped, at first with its entry, which must never return; returns when this one is resumed.
  void switch_to(Fiber& to);

  // Forgets what the stack holds: the next switch enters the function anew.
  void restart();

  // Whether the stack was used up to the last kilobytes.
  bool overflowed() const;

 private:
  static void begin();

  void* registers_[5] = {};  // of __builtin_setjmp
  void (*entry_)() = nullptr;
  bool started_ = false;
  unsigned char* stack_ = nullptr;
  ucontext_t context_ = {};
  // What AddressSanitizer wants to know of a stack.
  void* fake_stack_ = nullptr;
  const void* bottom_ = nullptr;
  size_t size_ = 0;
};

}  // namespace vanfast::emulation
