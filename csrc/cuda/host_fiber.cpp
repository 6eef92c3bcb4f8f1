// Stacks, and how they are switched.
#include "cuda/host_fiber.h"

#include <utility>

#include <sys/mman.h>

namespace autoal::dev::host {
namespace {

#if AUTOAL_EMU_ASM
__attribute__((naked, noinline)) void switch_stack(void**, void*) {
  asm volatile(
      "pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15;"
      "movq %rsp, (%rdi); movq %rsi, %rsp;"
      "popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp; ret");
}
#endif

void switch_context(Context& from, Context& to) {
#if AUTOAL_EMU_ASM
  switch_stack(&from, to);
#else
  swapcontext(&from, &to);
#endif
}

}  // namespace

Fibers& fibers() {
  static Fibers* all = new Fibers;  // never destroyed: the stacks stay mapped
  return *all;
}

void Fibers::begin(const std::function<void()>& body) {
  body_ = &body;
  error_ = nullptr;
#if AUTOAL_EMU_TSAN
  home_tsan_ = __tsan_get_current_fiber();
#endif
  start_.release();
}

void Fibers::add([[maybe_unused]] Fiber& f) {
#if AUTOAL_EMU_TSAN
  f.tsan = __tsan_create_fiber(0);
#endif
}

void Fibers::remove([[maybe_unused]] Fiber& f) {
#if AUTOAL_EMU_TSAN
  __tsan_destroy_fiber(f.tsan);
  if (f.stack) free_stacks_.push_back(f.stack);
#endif
}

void Fibers::resume(Fiber& f) {
  ++settings().switches;
  self = &f;
  if (f.state == State::fresh) prepare(f);
  f.state = State::ready;
#if AUTOAL_EMU_ASAN
  __sanitizer_start_switch_fiber(&home_fake_, f.stack, kStack);
#endif
#if AUTOAL_EMU_TSAN
  __tsan_switch_to_fiber(f.tsan, 1);  // 1: the switch itself orders nothing
#endif
  switch_context(home_, f.context);
#if AUTOAL_EMU_ASAN
  __sanitizer_finish_switch_fiber(home_fake_, nullptr, nullptr);
#endif
  if (f.state == State::done) drop(f);
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

void Fibers::to_scheduler() {
  Fiber* f = self;
#if AUTOAL_EMU_ASAN
  __sanitizer_start_switch_fiber(f->state == State::done ? nullptr : &f->fake_stack, home_bottom_, home_size_);
#endif
#if AUTOAL_EMU_TSAN
  __tsan_switch_to_fiber(home_tsan_, 1);
#endif
  switch_context(f->context, home_);
#if AUTOAL_EMU_ASAN
  __sanitizer_finish_switch_fiber(f->fake_stack, &home_bottom_, &home_size_);
#endif
}

void Fibers::entry() {
  Fibers& all = fibers();
#if AUTOAL_EMU_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &all.home_bottom_, &all.home_size_);
#endif
  all.start_.acquire();
  try {
    (*all.body_)();
  } catch (...) {
    if (!all.error_) all.error_ = std::current_exception();
  }
  all.done_.release();
  all.wait(State::done);
  std::abort();
}

// Gives a fiber that is fresh a stack on which entry() starts.
void Fibers::prepare(Fiber& f) {
#if AUTOAL_EMU_TSAN  // no two of the sanitizer's threads share a stack
  if (!f.stack) f.stack = take_stack();
#else
  f.stack = take_stack();
#endif
#if AUTOAL_EMU_ASM
  void** sp = reinterpret_cast<void**>(f.stack + kStack);
  *--sp = nullptr;  // as if called: rsp % 16 == 8
  *--sp = reinterpret_cast<void*>(&Fibers::entry);
  for (int i = 0; i < 6; ++i) *--sp = nullptr;
  f.context = sp;
#else
  getcontext(&f.context);
  f.context.uc_stack.ss_sp = f.stack;
  f.context.uc_stack.ss_size = kStack;
  f.context.uc_link = nullptr;
  makecontext(&f.context, &Fibers::entry, 0);
#endif
}

void Fibers::abandon(Fiber& f) {
#if AUTOAL_EMU_ASAN
  if (f.stack) __asan_unpoison_memory_region(f.stack, kStack);
#endif
  drop(f);
}

void Fibers::drop([[maybe_unused]] Fiber& f) {
#if !AUTOAL_EMU_TSAN  // there the stack stays its own until the grid is done
  if (f.stack) free_stacks_.push_back(f.stack);
  f.stack = nullptr;
#endif
}

char* Fibers::take_stack() {
  if (!free_stacks_.empty()) {
    char* s = free_stacks_.back();
    free_stacks_.pop_back();
    return s;
  }
  char* p = static_cast<char*>(
      mmap(nullptr, kStack + kGuard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (p == MAP_FAILED) fail("no memory for a stack");
  mprotect(p, kGuard, PROT_NONE);  // an overflow faults
  return p + kGuard;
}

}  // namespace autoal::dev::host
