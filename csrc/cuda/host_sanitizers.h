// What the emulator tells sanitizers: which stack is run on, and which accesses its barriers put in order.
// AUTOAL_EMU_TSAN says that the kernels are built with -fsanitize=thread; the emulator itself never is.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define AUTOAL_EMU_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if AUTOAL_EMU_TSAN
extern "C" {
void* __tsan_get_current_fiber(void);
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void*);
void __tsan_release(void*);
}
#endif

namespace autoal::dev::host {

// What came before a release() is over when an acquire() that follows it returns.
class Tag {
 public:
#if AUTOAL_EMU_TSAN
  void acquire() { __tsan_acquire(&place_); }
  void release() { __tsan_release(&place_); }

 private:
  char place_ = 0;
#else
  void acquire() {}
  void release() {}
#endif
};

}  // namespace autoal::dev::host
