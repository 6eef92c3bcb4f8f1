// The threads of the emulator: fibers, each on a stack of its own. One runs at a time, until it waits for others.
#pragma once
#include <cstdint>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include <ucontext.h>

#include "cuda/host_cuda.h"
#include "cuda/host_sanitizers.h"

namespace autoal::dev::host {

#if defined(__x86_64__) && !defined(AUTOAL_EMU_UCONTEXT)
#define AUTOAL_EMU_ASM 1
using Context = void*;  // a stack pointer: what must be kept lies on the stack
#else
using Context = ucontext_t;
#endif

enum class State : uint8_t { fresh, ready, at_block_barrier, at_grid_barrier, at_warp_op, done };

struct Block;

struct Fiber {
  State state = State::fresh;
  Block* home = nullptr;
  uint3 tid;
  unsigned linear = 0;
  Context context{};
  char* stack = nullptr;
  uint32_t warp_mask = 0;    // the mask it waits with
  const char* warp_op = "";  // what it waits in
  uint64_t slot = 0;         // what it hands in
  int meeting = -1;
#if AUTOAL_EMU_ASAN
  void* fake_stack = nullptr;
#endif
#if AUTOAL_EMU_TSAN
  void* tsan = nullptr;
#endif
};

[[noreturn]] inline void fail(const std::string& what) { throw EmulationError(what); }

class Fibers {
 public:
  Fiber* self = nullptr;  // that runs

  // Fibers run `body` from now on; they are added and removed by the thread that begins.
  void begin(const std::function<void()>& body);
  void add(Fiber& f);
  void remove(Fiber& f);
  void end() { done_.acquire(); }

  // Runs it until it waits or has returned. Throws what it has thrown.
  void resume(Fiber& f);
  // Gives up a fiber that has not returned: its frames are dropped, not unwound.
  void abandon(Fiber& f);

  // Lets others run, from the running fiber.
  void wait(State until) {
    self->state = until;
    to_scheduler();
  }
  // Runs something in the scheduler's name, from the running fiber: what it does orders no accesses of kernels.
  template <class Work>
  void as_scheduler(const Work& work) {
#if AUTOAL_EMU_TSAN
    __tsan_switch_to_fiber(home_tsan_, 1);
#endif
    work();
#if AUTOAL_EMU_TSAN
    __tsan_switch_to_fiber(self->tsan, 1);
#endif
  }

 private:
  static constexpr size_t kStack = 64 * 1024, kGuard = 4096;

  static void entry();
  void prepare(Fiber& f);
  void drop(Fiber& f);
  char* take_stack();
  void to_scheduler();

  const std::function<void()>* body_ = nullptr;
  std::exception_ptr error_;
  std::vector<char*> free_stacks_;
  Context home_{};
  Tag start_, done_;
#if AUTOAL_EMU_ASAN
  const void* home_bottom_ = nullptr;
  size_t home_size_ = 0;
  void* home_fake_ = nullptr;
#endif
#if AUTOAL_EMU_TSAN
  void* home_tsan_ = nullptr;
#endif
};

Fibers& fibers();

}  // namespace autoal::dev::host
