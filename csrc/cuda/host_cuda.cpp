// The launches of the emulator: the blocks of a grid, its barrier, its shared memory.
#include "cuda/host_cuda.h"

#include <algorithm>
#include <mutex>
#include <random>
#include <vector>

#include "cuda/host_block.h"

namespace autoal::dev::host {
namespace {

constexpr size_t kMostShared = 227 * 1024;

class Machine {
 public:
  Settings settings;
  dim3 grid, block;

  void run(dim3 g, dim3 b, size_t shared, const std::function<void()>& body, bool together) {
    std::lock_guard<std::mutex> lock(mutex_);
    const uint64_t nb = uint64_t(b.x) * b.y * b.z, ng = uint64_t(g.x) * g.y * g.z;
    if (nb == 0 || nb > 1024 || ng == 0 || g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535)
      fail("invalid launch configuration");
    if (shared > kMostShared) fail("too much dynamic shared memory");
    if (together && ng > settings.resident_blocks) fail("a cooperative launch of more blocks than are resident");
    grid = g;
    block = b;
    dynamic_bytes_ = shared;
    together_ = together;
    rng_.seed(settings.seed);
    blocks_.assign(together ? ng : std::min<uint64_t>(ng, 2), Block{});
    fibers().begin(body);
    for (Block& one : blocks_) {
      one.threads.assign(nb, Fiber{});
      for (Fiber& f : one.threads) {
        f.home = &one;
        fibers().add(f);
      }
    }
    struct End {
      Machine& m;
      ~End() { m.end(); }
    } end{*this};
    try {
      if (together)
        run_together();
      else
        run_in_turn(ng);
    } catch (...) {
      for (Block& one : blocks_)
        for (Fiber& f : one.threads) fibers().abandon(f);
      throw;
    }
  }

  void* shared(const void* id, size_t bytes) {
    std::vector<Shared>& mine = fibers().self->home->shared;
    for (const Shared& s : mine)
      if (s.id == id) {
        alloc_tag_.acquire();
        return s.p;
      }
    if (!id) bytes = dynamic_bytes_;
    size_t total = bytes;
    for (const Shared& s : mine) total += s.bytes;
    if (total > kMostShared) fail("too much shared memory");
    void* p = nullptr;  // its own allocation: the address sanitizer sees its bounds
    bool failed = false;
    fibers().as_scheduler([&] {
      failed = posix_memalign(&p, 16, bytes ? bytes : 1) != 0;
      alloc_tag_.release();
    });
    alloc_tag_.acquire();
    if (failed) fail("out of memory");
    volatile unsigned char* v = static_cast<unsigned char*>(p);  // NaN: nothing may rely on zeros
    for (size_t i = 0; i < bytes; ++i) v[i] = 0xff;
    mine.push_back({id, p, bytes});
    return p;
  }

  void grid_barrier() {
    if (!together_) fail("a barrier of the grid in a launch that is not cooperative");
    grid_tag_.release();
    fibers().wait(State::at_grid_barrier);
    grid_tag_.acquire();
  }

 private:
  std::mutex mutex_;
  std::vector<Block> blocks_;
  size_t dynamic_bytes_ = 0;
  bool together_ = false;
  std::mt19937_64 rng_;
  std::vector<void*> old_shared_;
  Tag alloc_tag_, grid_tag_;

  void end() {
    fibers().end();
    for (Block& one : blocks_)
      for (Fiber& f : one.threads) fibers().remove(f);
    for (void* p : old_shared_) std::free(p);
    old_shared_.clear();
    for (Block& one : blocks_) free_shared(one);
  }

  static void free_shared(Block& one) {
    for (const Shared& s : one.shared) std::free(s.p);
    one.shared.clear();
  }

  // Blocks one after the other, in two places by turns: a race between two blocks is one of two threads.
  void run_in_turn(uint64_t blocks) {
    for (uint64_t k = 0; k < blocks; ++k) {
      Block& one = blocks_[k % 2];
      one.start(settings.order == Order::reverse ? blocks - 1 - k : k, grid, block);
      while (!one.finished()) {
        if (one.turn.empty()) fail(deadlock());
        one.take_turn(rng_);
      }
#if AUTOAL_EMU_TSAN  // freed only when the grid is done: to free is an access, ordered after the block's
      for (const Shared& sh : one.shared) old_shared_.push_back(sh.p);
      one.shared.clear();
#endif
      free_shared(one);
    }
  }

  // All blocks are there at once, by turns, in the order of the settings; eager: each as far as it gets alone.
  void run_together() {
    std::vector<Block*> order;
    for (Block& one : blocks_) {
      one.start(order.size(), grid, block);
      order.push_back(&one);
    }
    if (settings.order == Order::reverse || (settings.order == Order::eager && settings.seed & 1))
      std::reverse(order.begin(), order.end());
    for (;;) {
      bool moved = false, finished = true, at_barrier = true;
      if (settings.order == Order::random) std::shuffle(order.begin(), order.end(), rng_);
      for (Block* one : order) {
        do {
          if (one->turn.empty()) break;
          one->take_turn(rng_);
          moved = true;
        } while (settings.order == Order::eager);
        finished &= one->finished();
        at_barrier &= one->at_grid_barrier == one->threads.size();
      }
      if (finished) return;
      if (at_barrier) {
        for (Block& one : blocks_) {
          one.next.clear();
          one.set_ready();
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
      for (const Fiber& f : one.threads) {
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
  static Machine* m = new Machine;
  return *m;
}

}  // namespace

Settings& settings() { return machine().settings; }
void run(dim3 g, dim3 b, size_t s, const std::function<void()>& f, bool together) {
  machine().run(g, b, s, f, together);
}
uint3 thread_index() { return fibers().self->tid; }
uint3 block_index() { return fibers().self->home->id; }
dim3 block_dim() { return machine().block; }
dim3 grid_dim() { return machine().grid; }
void* shared_memory(const void* id, size_t bytes) { return machine().shared(id, bytes); }
void grid_barrier() { machine().grid_barrier(); }

}  // namespace autoal::dev::host
