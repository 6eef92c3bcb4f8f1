// The turns of a block's threads, and their barrier.
#include "cuda/host_block.h"

#include <algorithm>
#include <functional>

namespace autoal::dev::host {

void Block::start(uint64_t number, dim3 grid, dim3 shape) {
  const unsigned n = unsigned(threads.size());
  id = {unsigned(number % grid.x), unsigned(number / grid.x % grid.y), unsigned(number / (uint64_t(grid.x) * grid.y))};
  turn.resize(n);
  for (unsigned i = 0; i < n; ++i) {
    Fiber& f = threads[i];
    f.state = State::fresh;
    f.linear = i;
    f.tid = {i % shape.x, i / shape.x % shape.y, i / (shape.x * shape.y)};
    turn[i] = i;
  }
  meetings.clear();
  meetings.reserve(n);  // at most one a thread: references stay good
  free_meetings.clear();
  free_meetings.reserve(n);
  shared.reserve(64);  // threads allocate nothing: that would be seen as theirs
  done = at_barrier = at_grid_barrier = 0;
}

void Block::take_turn(std::mt19937_64& rng) {
  const unsigned n = unsigned(threads.size());
  const Order order = settings().order;
  next.clear();
  if (order == Order::reverse) std::sort(turn.begin(), turn.end(), std::greater<unsigned>());
  if (order == Order::forward) std::sort(turn.begin(), turn.end());
  if (order == Order::random) std::shuffle(turn.begin(), turn.end(), rng);
  if (order == Order::eager) {  // the lowest runnable warp (or, by the seed, the highest) first
    const bool high = settings().seed & 1;
    unsigned w = high ? 0 : ~0u;
    for (unsigned i : turn) w = high ? std::max(w, i / 32) : std::min(w, i / 32);
    auto mid = std::stable_partition(turn.begin(), turn.end(), [&](unsigned i) { return i / 32 == w; });
    next.assign(mid, turn.end());
    turn.erase(mid, turn.end());
    std::shuffle(turn.begin(), turn.end(), rng);
  }
  uint32_t touched = 0;
  for (unsigned i : turn) {
    Fiber& f = threads[i];
    fibers().resume(f);
    if (f.state == State::done) ++done;
    if (f.state == State::at_block_barrier) ++at_barrier;
    if (f.state == State::at_grid_barrier) ++at_grid_barrier;
    if (f.state == State::at_warp_op || f.state == State::done) touched |= 1u << i / 32;
  }
  for (; touched; touched &= touched - 1) release_warp(unsigned(__builtin_ctz(touched)));
  if (at_barrier && at_barrier + done == n) {
    if (done)
      fail("__syncthreads() reached by " + std::to_string(at_barrier) + " of " + std::to_string(n) +
           " threads: the others have returned");
    set_ready();
    at_barrier = 0;
  }
  turn.swap(next);
}

void Block::set_ready() {
  for (unsigned i = 0; i < unsigned(threads.size()); ++i) {
    threads[i].state = State::ready;
    next.push_back(i);
  }
}

void block_barrier() {
  Tag& tag = fibers().self->home->barrier;
  tag.release();
  fibers().wait(State::at_block_barrier);
  tag.acquire();
}

}  // namespace autoal::dev::host
