// The scheduler of host_cuda.h. Built without -fsanitize=thread, always; AUTOAL_EMU_TSAN
// says that the kernels are built with it.
#include "cuda/host_cuda.h"

#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim

#include <algorithm>
#include <mutex>
#include <random>
#include <vector>

#include <sys/mman.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define AUTOAL_EMU_ASAN 1
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
namespace {

enum class State : uint8_t { fresh, ready, at_block_barrier, at_warp_op, done };

#if defined(__x86_64__) && !defined(AUTOAL_EMU_UCONTEXT)
#define AUTOAL_EMU_ASM 1
using Context = void*;  // a stack pointer: what must be kept lies on the stack
__attribute__((naked, noinline)) void switch_stack(void**, void*) {
  asm volatile(
      "pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15;"
      "movq %rsp, (%rdi); movq %rsi, %rsp;"
      "popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp; ret");
}
#else
using Context = ucontext_t;
#endif

struct Meeting {  // what the lanes of one warp operation handed in
  uint64_t value[32];
  int readers = 0;
};

struct Fiber {
  State state = State::fresh;
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
  char* stack_of[2] = {};
  void* tsan_of[2] = {};  // of even and of odd blocks: a race between two blocks is one of two threads
#endif
};

[[noreturn]] void fail(const std::string& what) { throw EmulationError(what); }

class Machine {
 public:
  Settings settings;
  dim3 grid, block;
  uint3 block_id;
  Fiber* self = nullptr;

  void run(dim3 g, dim3 b, size_t shared, const std::function<void()>& body) {
    std::lock_guard<std::mutex> lock(mutex_);
    const uint64_t nb = uint64_t(b.x) * b.y * b.z, ng = uint64_t(g.x) * g.y * g.z;
    if (nb == 0 || nb > 1024 || ng == 0 || g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535)
      fail("invalid launch configuration");
    if (shared > 227 * 1024) fail("too much dynamic shared memory");
    grid = g;
    block = b;
    body_ = &body;
    dynamic_bytes_ = shared;
    rng_.seed(settings.seed);
    fibers_.assign(nb, Fiber{});
#if AUTOAL_EMU_TSAN
    home_tsan_ = __tsan_get_current_fiber();
    for (Fiber& f : fibers_)
      for (void*& t : f.tsan_of) t = __tsan_create_fiber(0);
    __tsan_release(&start_tag_);
#endif
    struct End {
      Machine& m;
      ~End() {
#if AUTOAL_EMU_TSAN
        __tsan_acquire(&m.done_tag_);
        for (Fiber& f : m.fibers_)
          for (int i = 0; i < 2; ++i) {
            __tsan_destroy_fiber(f.tsan_of[i]);
            if (f.stack_of[i]) m.free_stacks_.push_back(f.stack_of[i]);
          }
        for (void* p : m.old_shared_) std::free(p);
        m.old_shared_.clear();
#endif
        m.free_shared();
      }
    } end{*this};
    for (uint64_t k = 0; k < ng; ++k) {
      const uint64_t i = settings.order == Order::reverse ? ng - 1 - k : k;
      block_id = {unsigned(i % g.x), unsigned(i / g.x % g.y), unsigned(i / (uint64_t(g.x) * g.y))};
#if AUTOAL_EMU_TSAN
      odd_ = int(k % 2);
      for (Fiber& f : fibers_) f.tsan = f.tsan_of[odd_];
#endif
      run_block();
#if AUTOAL_EMU_TSAN  // freed only when the grid is done: to free is an access, ordered after the block's
      for (const Shared& sh : shared_) old_shared_.push_back(sh.p);
      shared_.clear();
#endif
      free_shared();
    }
  }

  void* shared(const void* id, size_t bytes) {
    for (const Shared& s : shared_)
      if (s.id == id) {
#if AUTOAL_EMU_TSAN
        __tsan_acquire(&alloc_tag_);
#endif
        return s.p;
      }
    if (!id) bytes = dynamic_bytes_;
    size_t total = bytes;
    for (const Shared& s : shared_) total += s.bytes;
    if (total > 227 * 1024) fail("too much shared memory");
    void* p = nullptr;  // its own allocation: the address sanitizer sees its bounds
#if AUTOAL_EMU_TSAN     // allocated in the scheduler's name: it orders no kernel access
    __tsan_switch_to_fiber(home_tsan_, 1);
#endif
    const bool failed = posix_memalign(&p, 16, bytes ? bytes : 1) != 0;
#if AUTOAL_EMU_TSAN
    __tsan_release(&alloc_tag_);
    __tsan_switch_to_fiber(self->tsan, 1);
    __tsan_acquire(&alloc_tag_);
#endif
    if (failed) fail("out of memory");
    volatile unsigned char* v = static_cast<unsigned char*>(p);  // NaN: nothing may rely on zeros
    for (size_t i = 0; i < bytes; ++i) v[i] = 0xff;
    shared_.push_back({id, p, bytes});
    return p;
  }

  void block_barrier() {
#if AUTOAL_EMU_TSAN
    __tsan_release(&barrier_tag_[odd_]);
#endif
    self->state = State::at_block_barrier;
    to_scheduler();
#if AUTOAL_EMU_TSAN
    __tsan_acquire(&barrier_tag_[odd_]);
#endif
  }

  void warp_barrier(uint32_t mask) {
#if AUTOAL_EMU_TSAN
    __tsan_release(&warp_tag_[odd_][self->linear / 32]);
#endif
    self->meeting = -1;
    meet("__syncwarp", mask);
#if AUTOAL_EMU_TSAN
    __tsan_acquire(&warp_tag_[odd_][self->linear / 32]);
#endif
  }

  // A shuffle or a vote exchanges values and orders no memory: no acquire, no release.
  unsigned exchange(const char* name, uint32_t mask, uint64_t value, uint64_t (&all)[32]) {
    self->slot = value;
    self->meeting = 0;
    meet(name, mask);
    Meeting& m = meetings_[self->meeting];
    for (int i = 0; i < 32; ++i) const_cast<volatile uint64_t&>(all[i]) = m.value[i];
    if (--m.readers == 0) free_meetings_.push_back(self->meeting);
    return self->linear % 32;
  }

 private:
  static constexpr size_t kStack = 64 * 1024, kGuard = 4096;
  struct Shared {
    const void* id;
    void* p;
    size_t bytes;
  };

  std::mutex mutex_;
  std::vector<Fiber> fibers_;
  std::vector<Shared> shared_;
  size_t dynamic_bytes_ = 0;
  std::vector<char*> free_stacks_;
  std::vector<Meeting> meetings_;
  std::vector<int> free_meetings_;
  Context home_{};
  const std::function<void()>* body_ = nullptr;
  std::exception_ptr error_;
  std::mt19937_64 rng_;
  std::vector<unsigned> turn_, next_;
#if AUTOAL_EMU_ASAN
  const void* home_bottom_ = nullptr;
  size_t home_size_ = 0;
  void* home_fake_ = nullptr;
#endif
#if AUTOAL_EMU_TSAN
  void* home_tsan_ = nullptr;
  std::vector<void*> old_shared_;
  char alloc_tag_ = 0, start_tag_ = 0, done_tag_ = 0, barrier_tag_[2] = {}, warp_tag_[2][32] = {};
  int odd_ = 0;
#endif

  void free_shared() {
    for (const Shared& s : shared_) std::free(s.p);
    shared_.clear();
  }

  void meet(const char* name, uint32_t mask) {
    if (!(mask >> self->linear % 32 & 1)) fail(std::string(name) + ": the calling lane is not in its mask");
    self->warp_mask = mask;
    self->warp_op = name;
    self->state = State::at_warp_op;
    to_scheduler();
  }

  char* take_stack() {
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

  static void entry();

  void to_scheduler() {
    Fiber* f = self;
#if AUTOAL_EMU_ASAN
    __sanitizer_start_switch_fiber(f->state == State::done ? nullptr : &f->fake_stack, home_bottom_, home_size_);
#endif
#if AUTOAL_EMU_TSAN
    __tsan_switch_to_fiber(home_tsan_, 1);  // 1: the switch itself orders nothing
#endif
#if AUTOAL_EMU_ASM
    switch_stack(&f->context, home_);
#else
    swapcontext(&f->context, &home_);
#endif
#if AUTOAL_EMU_ASAN
    __sanitizer_finish_switch_fiber(f->fake_stack, &home_bottom_, &home_size_);
#endif
  }

  void resume(Fiber& f) {
    ++settings.switches;
    self = &f;
    if (f.state == State::fresh) {
#if AUTOAL_EMU_TSAN  // no two of the sanitizer's threads share a stack
      if (!f.stack_of[odd_]) f.stack_of[odd_] = take_stack();
      f.stack = f.stack_of[odd_];
#else
      f.stack = take_stack();
#endif
#if AUTOAL_EMU_ASM
      void** sp = reinterpret_cast<void**>(f.stack + kStack);
      *--sp = nullptr;  // entry() starts as if called: rsp % 16 == 8
      *--sp = reinterpret_cast<void*>(&Machine::entry);
      for (int i = 0; i < 6; ++i) *--sp = nullptr;
      f.context = sp;
#else
      getcontext(&f.context);
      f.context.uc_stack.ss_sp = f.stack;
      f.context.uc_stack.ss_size = kStack;
      f.context.uc_link = nullptr;
      makecontext(&f.context, &Machine::entry, 0);
#endif
    }
    f.state = State::ready;
#if AUTOAL_EMU_ASAN
    __sanitizer_start_switch_fiber(&home_fake_, f.stack, kStack);
#endif
#if AUTOAL_EMU_TSAN
    __tsan_switch_to_fiber(f.tsan, 1);
#endif
#if AUTOAL_EMU_ASM
    switch_stack(&home_, f.context);
#else
    swapcontext(&home_, &f.context);
#endif
#if AUTOAL_EMU_ASAN
    __sanitizer_finish_switch_fiber(home_fake_, nullptr, nullptr);
#endif
    if (f.state == State::done) drop(f);
  }

  void drop(Fiber& f) {
    if (!f.stack) return;
#if !AUTOAL_EMU_TSAN
    free_stacks_.push_back(f.stack);
#endif
    f.stack = nullptr;
  }

  // Lets go every warp operation of this warp whose lanes are all there.
  void release_warp(unsigned warp) {
    const unsigned base = warp * 32, n = unsigned(std::min<size_t>(32, fibers_.size() - base));
    uint32_t seen = 0;
    for (unsigned l = 0; l < n; ++l) {
      Fiber& f = fibers_[base + l];
      if (f.state != State::at_warp_op || seen >> l & 1) continue;
      bool all = true;
      for (uint32_t rest = f.warp_mask; rest && all; rest &= rest - 1) {
        const unsigned j = unsigned(__builtin_ctz(rest));
        if (j >= n) fail(std::string(f.warp_op) + ": the mask names a lane that the block has not");
        const Fiber& o = fibers_[base + j];
        if (o.state == State::done)
          fail(std::string(f.warp_op) + ": lane " + std::to_string(j) + " of the mask has returned");
        all = o.state == State::at_warp_op && o.warp_mask == f.warp_mask && o.warp_op == f.warp_op;
      }
      if (!all) continue;
      seen |= f.warp_mask;
      int id = -1;
      if (f.meeting >= 0) {
        if (free_meetings_.empty()) {
          free_meetings_.push_back(int(meetings_.size()));
          meetings_.emplace_back();
        }
        id = free_meetings_.back();
        free_meetings_.pop_back();
        meetings_[id].readers = __builtin_popcount(f.warp_mask);
      }
      for (uint32_t rest = f.warp_mask; rest; rest &= rest - 1) {
        const unsigned j = unsigned(__builtin_ctz(rest));
        Fiber& o = fibers_[base + j];
        if (id >= 0) meetings_[id].value[j] = o.slot;
        o.meeting = id;
        o.state = State::ready;
        next_.push_back(base + j);
      }
    }
  }

  void run_block() {
    const unsigned n = unsigned(fibers_.size());
    turn_.resize(n);
    for (unsigned i = 0; i < n; ++i) {
      Fiber& f = fibers_[i];
      f.state = State::fresh;
      f.linear = i;
      f.tid = {i % block.x, i / block.x % block.y, i / (block.x * block.y)};
      turn_[i] = i;
    }
    meetings_.clear();
    meetings_.reserve(n);  // at most one a fiber: references stay good
    free_meetings_.clear();
    free_meetings_.reserve(n);
    shared_.reserve(64);  // fibers allocate nothing: that would be seen as theirs
    error_ = nullptr;
    const Order order = settings.order;
    unsigned done = 0, at_barrier = 0;
    std::vector<unsigned> later;
    try {
      while (done < n) {
        if (turn_.empty()) fail(deadlock());
        later.clear();
        if (order == Order::reverse) std::sort(turn_.begin(), turn_.end(), std::greater<unsigned>());
        if (order == Order::forward) std::sort(turn_.begin(), turn_.end());
        if (order == Order::random) std::shuffle(turn_.begin(), turn_.end(), rng_);
        if (order == Order::eager) {  // the lowest runnable warp (or, by the seed, the highest) first
          const bool high = settings.seed & 1;
          unsigned w = high ? 0 : ~0u;
          for (unsigned i : turn_) w = high ? std::max(w, i / 32) : std::min(w, i / 32);
          auto mid = std::stable_partition(turn_.begin(), turn_.end(), [&](unsigned i) { return i / 32 == w; });
          later.assign(mid, turn_.end());
          turn_.erase(mid, turn_.end());
          std::shuffle(turn_.begin(), turn_.end(), rng_);
        }
        uint32_t touched = 0;
        next_.assign(later.begin(), later.end());
        for (unsigned i : turn_) {
          Fiber& f = fibers_[i];
          resume(f);
          if (error_) std::rethrow_exception(error_);
          if (f.state == State::done) ++done;
          if (f.state == State::at_block_barrier) ++at_barrier;
          if (f.state == State::at_warp_op || f.state == State::done) touched |= 1u << i / 32;
        }
        for (; touched; touched &= touched - 1) release_warp(unsigned(__builtin_ctz(touched)));
        if (at_barrier && at_barrier + done == n) {
          if (done)
            fail("__syncthreads() reached by " + std::to_string(at_barrier) + " of " + std::to_string(n) +
                 " threads: the others have returned");
          for (unsigned i = 0; i < n; ++i) {
            fibers_[i].state = State::ready;
            next_.push_back(i);
          }
          at_barrier = 0;
        }
        turn_.swap(next_);
      }
    } catch (...) {
      for (Fiber& f : fibers_) {  // their frames are dropped, not unwound
#if AUTOAL_EMU_ASAN
        if (f.stack) __asan_unpoison_memory_region(f.stack, kStack);
#endif
        drop(f);
      }
      throw;
    }
  }

  std::string deadlock() {
    size_t barrier = 0, warp = 0;
    std::string op;
    for (Fiber& f : fibers_) {
      barrier += f.state == State::at_block_barrier;
      if (f.state == State::at_warp_op) {
        ++warp;
        op = f.warp_op;
      }
    }
    return "deadlock: " + std::to_string(barrier) + " threads in __syncthreads(), " + std::to_string(warp) +
           " in a warp operation (" + op + ")";
  }
};

Machine& machine() {
  static Machine* m = new Machine;  // never destroyed: its stacks stay mapped
  return *m;
}

void Machine::entry() {
  Machine& m = machine();
#if AUTOAL_EMU_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &m.home_bottom_, &m.home_size_);
#endif
#if AUTOAL_EMU_TSAN
  __tsan_acquire(&m.start_tag_);
#endif
  try {
    (*m.body_)();
  } catch (...) {
    if (!m.error_) m.error_ = std::current_exception();
  }
#if AUTOAL_EMU_TSAN
  __tsan_release(&m.done_tag_);
#endif
  m.self->state = State::done;
  m.to_scheduler();
  std::abort();
}

}  // namespace

Settings& settings() { return machine().settings; }
void run(dim3 g, dim3 b, size_t s, const std::function<void()>& f) { machine().run(g, b, s, f); }
uint3 thread_index() { return machine().self->tid; }
uint3 block_index() { return machine().block_id; }
dim3 block_dim() { return machine().block; }
dim3 grid_dim() { return machine().grid; }
void* shared_memory(const void* id, size_t bytes) { return machine().shared(id, bytes); }
void block_barrier() { machine().block_barrier(); }
void warp_barrier(uint32_t mask) { machine().warp_barrier(mask); }
unsigned warp_exchange(const char* name, uint32_t mask, uint64_t v, uint64_t (&all)[32]) {
  return machine().exchange(name, mask, v, all);
}

}  // namespace autoal::dev::host
