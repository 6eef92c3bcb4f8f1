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

enum class State : uint8_t { fresh, ready, at_block_barrier, at_grid_barrier, at_warp_op, done };

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

struct Shared {
  const void* id;
  void* p;
  size_t bytes;
};

// Blocks of a plain launch run one after the other, in two of these by turns: a race between two blocks is one of two
// threads. Those of a cooperative launch are all there at once.
struct Block {
  uint3 id;
  std::vector<Fiber> fibers;
  std::vector<Shared> shared;
  std::vector<Meeting> meetings;
  std::vector<int> free_meetings;
  std::vector<unsigned> turn, next;  // the fibers that can go on, now and afterwards
  unsigned done = 0, at_barrier = 0, at_grid_barrier = 0;
#if AUTOAL_EMU_TSAN
  char barrier_tag = 0, warp_tag[32] = {};
#endif

  bool finished() const { return done == fibers.size(); }
};

[[noreturn]] void fail(const std::string& what) { throw EmulationError(what); }

class Machine {
 public:
  Settings settings;
  dim3 grid, block;
  Fiber* self = nullptr;

  void run(dim3 g, dim3 b, size_t shared, const std::function<void()>& body, bool together) {
    std::lock_guard<std::mutex> lock(mutex_);
    const uint64_t nb = uint64_t(b.x) * b.y * b.z, ng = uint64_t(g.x) * g.y * g.z;
    if (nb == 0 || nb > 1024 || ng == 0 || g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535)
      fail("invalid launch configuration");
    if (shared > 227 * 1024) fail("too much dynamic shared memory");
    if (together && ng > settings.resident_blocks) fail("a cooperative launch of more blocks than are resident");
    grid = g;
    block = b;
    body_ = &body;
    dynamic_bytes_ = shared;
    together_ = together;
    rng_.seed(settings.seed);
    error_ = nullptr;
    blocks_.assign(together ? ng : std::min<uint64_t>(ng, 2), Block{});
    for (Block& one : blocks_) {
      one.fibers.assign(nb, Fiber{});
      for (Fiber& f : one.fibers) f.home = &one;
    }
#if AUTOAL_EMU_TSAN
    home_tsan_ = __tsan_get_current_fiber();
    for (Block& one : blocks_)
      for (Fiber& f : one.fibers) f.tsan = __tsan_create_fiber(0);
    __tsan_release(&start_tag_);
#endif
    struct End {
      Machine& m;
      ~End() {
#if AUTOAL_EMU_TSAN
        __tsan_acquire(&m.done_tag_);
        for (Block& one : m.blocks_)
          for (Fiber& f : one.fibers) {
            __tsan_destroy_fiber(f.tsan);
            if (f.stack) m.free_stacks_.push_back(f.stack);
          }
        for (void* p : m.old_shared_) std::free(p);
        m.old_shared_.clear();
#endif
        for (Block& one : m.blocks_) free_shared(one);
      }
    } end{*this};
    try {
      if (together) {
        for (uint64_t k = 0; k < ng; ++k) start(blocks_[k], k);
        run_together();
      } else {
        for (uint64_t k = 0; k < ng; ++k) {
          Block& one = blocks_[k % 2];
          start(one, settings.order == Order::reverse ? ng - 1 - k : k);
          while (!one.finished()) take_turn(one);
#if AUTOAL_EMU_TSAN  // freed only when the grid is done: to free is an access, ordered after the block's
          for (const Shared& sh : one.shared) old_shared_.push_back(sh.p);
          one.shared.clear();
#endif
          free_shared(one);
        }
      }
    } catch (...) {
      for (Block& one : blocks_)
        for (Fiber& f : one.fibers) {  // their frames are dropped, not unwound
#if AUTOAL_EMU_ASAN
          if (f.stack) __asan_unpoison_memory_region(f.stack, kStack);
#endif
          drop(f);
        }
      throw;
    }
  }

  void* shared(const void* id, size_t bytes) {
    std::vector<Shared>& mine = self->home->shared;
    for (const Shared& s : mine)
      if (s.id == id) {
#if AUTOAL_EMU_TSAN
        __tsan_acquire(&alloc_tag_);
#endif
        return s.p;
      }
    if (!id) bytes = dynamic_bytes_;
    size_t total = bytes;
    for (const Shared& s : mine) total += s.bytes;
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
    mine.push_back({id, p, bytes});
    return p;
  }

  void block_barrier() {
#if AUTOAL_EMU_TSAN
    char* tag = &self->home->barrier_tag;
    __tsan_release(tag);
#endif
    self->state = State::at_block_barrier;
    to_scheduler();
#if AUTOAL_EMU_TSAN
    __tsan_acquire(tag);
#endif
  }

  void grid_barrier() {
    if (!together_) fail("a barrier of the grid in a launch that is not cooperative");
#if AUTOAL_EMU_TSAN
    __tsan_release(&grid_tag_);
#endif
    self->state = State::at_grid_barrier;
    to_scheduler();
#if AUTOAL_EMU_TSAN
    __tsan_acquire(&grid_tag_);
#endif
  }

  void warp_barrier(uint32_t mask) {
#if AUTOAL_EMU_TSAN
    char* tag = &self->home->warp_tag[self->linear / 32];
    __tsan_release(tag);
#endif
    self->meeting = -1;
    meet("__syncwarp", mask);
#if AUTOAL_EMU_TSAN
    __tsan_acquire(tag);
#endif
  }

  // A shuffle or a vote exchanges values and orders no memory: no acquire, no release.
  unsigned exchange(const char* name, uint32_t mask, uint64_t value, uint64_t (&all)[32]) {
    self->slot = value;
    self->meeting = 0;
    meet(name, mask);
    Meeting& m = self->home->meetings[self->meeting];
    for (int i = 0; i < 32; ++i) const_cast<volatile uint64_t&>(all[i]) = m.value[i];
    if (--m.readers == 0) self->home->free_meetings.push_back(self->meeting);
    return self->linear % 32;
  }

 private:
  static constexpr size_t kStack = 64 * 1024, kGuard = 4096;

  std::mutex mutex_;
  std::vector<Block> blocks_;
  size_t dynamic_bytes_ = 0;
  bool together_ = false;
  std::vector<char*> free_stacks_;
  Context home_{};
  const std::function<void()>* body_ = nullptr;
  std::exception_ptr error_;
  std::mt19937_64 rng_;
#if AUTOAL_EMU_ASAN
  const void* home_bottom_ = nullptr;
  size_t home_size_ = 0;
  void* home_fake_ = nullptr;
#endif
#if AUTOAL_EMU_TSAN
  void* home_tsan_ = nullptr;
  std::vector<void*> old_shared_;
  char alloc_tag_ = 0, start_tag_ = 0, done_tag_ = 0, grid_tag_ = 0;
#endif

  static void free_shared(Block& one) {
    for (const Shared& s : one.shared) std::free(s.p);
    one.shared.clear();
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
      if (!f.stack) f.stack = take_stack();
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
#if !AUTOAL_EMU_TSAN
    if (f.stack) free_stacks_.push_back(f.stack);
    f.stack = nullptr;
#else
    (void)f;  // the stack stays its own until the grid is done
#endif
  }

  // Lets go every warp operation of this warp whose lanes are all there.
  static void release_warp(Block& one, unsigned warp) {
    const unsigned base = warp * 32, n = unsigned(std::min<size_t>(32, one.fibers.size() - base));
    uint32_t seen = 0;
    for (unsigned l = 0; l < n; ++l) {
      Fiber& f = one.fibers[base + l];
      if (f.state != State::at_warp_op || seen >> l & 1) continue;
      bool all = true;
      for (uint32_t rest = f.warp_mask; rest && all; rest &= rest - 1) {
        const unsigned j = unsigned(__builtin_ctz(rest));
        if (j >= n) fail(std::string(f.warp_op) + ": the mask names a lane that the block has not");
        const Fiber& o = one.fibers[base + j];
        if (o.state == State::done)
          fail(std::string(f.warp_op) + ": lane " + std::to_string(j) + " of the mask has returned");
        all = o.state == State::at_warp_op && o.warp_mask == f.warp_mask && o.warp_op == f.warp_op;
      }
      if (!all) continue;
      seen |= f.warp_mask;
      int id = -1;
      if (f.meeting >= 0) {
        if (one.free_meetings.empty()) {
          one.free_meetings.push_back(int(one.meetings.size()));
          one.meetings.emplace_back();
        }
        id = one.free_meetings.back();
        one.free_meetings.pop_back();
        one.meetings[id].readers = __builtin_popcount(f.warp_mask);
      }
      for (uint32_t rest = f.warp_mask; rest; rest &= rest - 1) {
        const unsigned j = unsigned(__builtin_ctz(rest));
        Fiber& o = one.fibers[base + j];
        if (id >= 0) one.meetings[id].value[j] = o.slot;
        o.meeting = id;
        o.state = State::ready;
        one.next.push_back(base + j);
      }
    }
  }

  void start(Block& one, uint64_t number) {
    const unsigned n = unsigned(one.fibers.size());
    one.id = {unsigned(number % grid.x), unsigned(number / grid.x % grid.y),
              unsigned(number / (uint64_t(grid.x) * grid.y))};
    one.turn.resize(n);
    for (unsigned i = 0; i < n; ++i) {
      Fiber& f = one.fibers[i];
      f.state = State::fresh;
      f.linear = i;
      f.tid = {i % block.x, i / block.x % block.y, i / (block.x * block.y)};
      one.turn[i] = i;
    }
    one.meetings.clear();
    one.meetings.reserve(n);  // at most one a fiber: references stay good
    one.free_meetings.clear();
    one.free_meetings.reserve(n);
    one.shared.reserve(64);  // fibers allocate nothing: that would be seen as theirs
    one.done = one.at_barrier = one.at_grid_barrier = 0;
  }

  // All fibers of the block that can go on do so once, up to where they next wait.
  void take_turn(Block& one) {
    const unsigned n = unsigned(one.fibers.size());
    if (one.turn.empty()) fail(deadlock());
    const Order order = settings.order;
    std::vector<unsigned>& turn = one.turn;
    one.next.clear();
    if (order == Order::reverse) std::sort(turn.begin(), turn.end(), std::greater<unsigned>());
    if (order == Order::forward) std::sort(turn.begin(), turn.end());
    if (order == Order::random) std::shuffle(turn.begin(), turn.end(), rng_);
    if (order == Order::eager) {  // the lowest runnable warp (or, by the seed, the highest) first
      const bool high = settings.seed & 1;
      unsigned w = high ? 0 : ~0u;
      for (unsigned i : turn) w = high ? std::max(w, i / 32) : std::min(w, i / 32);
      auto mid = std::stable_partition(turn.begin(), turn.end(), [&](unsigned i) { return i / 32 == w; });
      one.next.assign(mid, turn.end());
      turn.erase(mid, turn.end());
      std::shuffle(turn.begin(), turn.end(), rng_);
    }
    uint32_t touched = 0;
    for (unsigned i : turn) {
      Fiber& f = one.fibers[i];
      resume(f);
      if (error_) std::rethrow_exception(error_);
      if (f.state == State::done) ++one.done;
      if (f.state == State::at_block_barrier) ++one.at_barrier;
      if (f.state == State::at_grid_barrier) ++one.at_grid_barrier;
      if (f.state == State::at_warp_op || f.state == State::done) touched |= 1u << i / 32;
    }
    for (; touched; touched &= touched - 1) release_warp(one, unsigned(__builtin_ctz(touched)));
    if (one.at_barrier && one.at_barrier + one.done == n) {
      if (one.done)
        fail("__syncthreads() reached by " + std::to_string(one.at_barrier) + " of " + std::to_string(n) +
             " threads: the others have returned");
      set_ready(one);
      one.at_barrier = 0;
    }
    turn.swap(one.next);
  }

  static void set_ready(Block& one) {
    for (unsigned i = 0; i < unsigned(one.fibers.size()); ++i) {
      one.fibers[i].state = State::ready;
      one.next.push_back(i);
    }
  }

  // Blocks by turns, in the order of the settings; eager: each as far as it gets alone.
  void run_together() {
    std::vector<Block*> order;
    for (Block& one : blocks_) order.push_back(&one);
    if (settings.order == Order::reverse || (settings.order == Order::eager && settings.seed & 1))
      std::reverse(order.begin(), order.end());
    for (;;) {
      bool moved = false, finished = true, at_barrier = true;
      if (settings.order == Order::random) std::shuffle(order.begin(), order.end(), rng_);
      for (Block* one : order) {
        do {
          if (one->turn.empty()) break;
          take_turn(*one);
          moved = true;
        } while (settings.order == Order::eager);
        finished &= one->finished();
        at_barrier &= one->at_grid_barrier == one->fibers.size();
      }
      if (finished) return;
      if (at_barrier) {
        for (Block& one : blocks_) {
          one.next.clear();
          set_ready(one);
          one.turn.swap(one.next);
          one.at_grid_barrier = 0;
        }
      } else if (!moved) {
        fail(deadlock());
      }
    }
  }

  std::string deadlock() const {
    size_t barrier = 0, grid_barrier = 0, warp = 0, done = 0;
    std::string op;
    for (const Block& one : blocks_)
      for (const Fiber& f : one.fibers) {
        barrier += f.state == State::at_block_barrier;
        grid_barrier += f.state == State::at_grid_barrier;
        done += f.state == State::done;
        if (f.state == State::at_warp_op) {
          ++warp;
          op = f.warp_op;
        }
      }
    return "deadlock: " + std::to_string(barrier) + " threads in __syncthreads(), " + std::to_string(grid_barrier) +
           " at the grid's barrier, " + std::to_string(warp) + " in a warp operation (" + op + "), " +
           std::to_string(done) + " returned";
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
void run(dim3 g, dim3 b, size_t s, const std::function<void()>& f, bool together) {
  machine().run(g, b, s, f, together);
}
uint3 thread_index() { return machine().self->tid; }
uint3 block_index() { return machine().self->home->id; }
dim3 block_dim() { return machine().block; }
dim3 grid_dim() { return machine().grid; }
void* shared_memory(const void* id, size_t bytes) { return machine().shared(id, bytes); }
void block_barrier() { machine().block_barrier(); }
void grid_barrier() { machine().grid_barrier(); }
void warp_barrier(uint32_t mask) { machine().warp_barrier(mask); }
unsigned warp_exchange(const char* name, uint32_t mask, uint64_t v, uint64_t (&all)[32]) {
  return machine().exchange(name, mask, v, all);
}

}  // namespace autoal::dev::host

namespace autoal::dev {
namespace {

float bfloat(uint64_t half) {
  const uint32_t bits = static_cast<uint32_t>(half & 0xffffu) << 16;
  float v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

uint32_t nearest_bfloat(float v) {
  uint32_t bits;
  std::memcpy(&bits, &v, sizeof bits);
  return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;  // halves to even
}

}  // namespace

uint32_t bfloat_pair(float low, float high) { return nearest_bfloat(low) | nearest_bfloat(high) << 16; }

// Sums are cut off, not rounded, after each product: the real ones are said to do no better.
void multiply_add(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  const char* name = "mma.sync";
  uint64_t near[32], far[32], other[32];  // of all lanes: columns up to 7 of a, from 8 on; b
  host::warp_exchange(name, 0xffffffffu, a[0] | uint64_t{a[1]} << 32, near);
  host::warp_exchange(name, 0xffffffffu, a[2] | uint64_t{a[3]} << 32, far);
  const unsigned lane = host::warp_exchange(name, 0xffffffffu, b[0] | uint64_t{b[1]} << 32, other);
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned row = lane / 4, below = i / 2, column = lane % 4 * 2 + i % 2;
    for (unsigned k = 0; k < 16; ++k) {
      const unsigned t = k % 8 / 2, half = 16 * (k % 2);
      const float u = bfloat((k < 8 ? near : far)[4 * row + t] >> (32 * below + half));
      const float v = bfloat(other[4 * column + t] >> (32 * (k / 8) + half));
      const double sum = double(sums[i]) + double(u) * v;
      float cut = static_cast<float>(sum);
      if (std::fabs(cut) > std::fabs(sum)) cut = std::nextafter(cut, 0.0f);
      sums[i] = cut;
    }
  }
}

}  // namespace autoal::dev
