// Warp operations: each is a meeting of the lanes of its mask.
#include "cuda/host_block.h"

#include <algorithm>

namespace autoal::dev::host {
namespace {

void meet(const char* name, uint32_t mask) {
  Fiber* self = fibers().self;
  if (!(mask >> self->linear % 32 & 1)) fail(std::string(name) + ": the calling lane is not in its mask");
  self->warp_mask = mask;
  self->warp_op = name;
  fibers().wait(State::at_warp_op);
}

}  // namespace

void warp_barrier(uint32_t mask) {
  Fiber* self = fibers().self;
  Tag& tag = self->home->warp_barrier[self->linear / 32];
  tag.release();
  self->meeting = -1;
  meet("__syncwarp", mask);
  tag.acquire();
}

// A shuffle or a vote exchanges values and orders no memory: no acquire, no release.
unsigned warp_exchange(const char* name, uint32_t mask, uint64_t value, uint64_t (&all)[32]) {
  Fiber* self = fibers().self;
  self->slot = value;
  self->meeting = 0;
  meet(name, mask);
  Meeting& m = self->home->meetings[self->meeting];
  for (int i = 0; i < 32; ++i) const_cast<volatile uint64_t&>(all[i]) = m.value[i];
  if (--m.readers == 0) self->home->free_meetings.push_back(self->meeting);
  return self->linear % 32;
}

void Block::release_warp(unsigned warp) {
  const unsigned base = warp * 32, n = unsigned(std::min<size_t>(32, threads.size() - base));
  uint32_t seen = 0;
  for (unsigned l = 0; l < n; ++l) {
    Fiber& f = threads[base + l];
    if (f.state != State::at_warp_op || seen >> l & 1) continue;
    bool all = true;
    for (uint32_t rest = f.warp_mask; rest && all; rest &= rest - 1) {
      const unsigned j = unsigned(__builtin_ctz(rest));
      if (j >= n) fail(std::string(f.warp_op) + ": the mask names a lane that the block has not");
      const Fiber& o = threads[base + j];
      if (o.state == State::done)
        fail(std::string(f.warp_op) + ": lane " + std::to_string(j) + " of the mask has returned");
      all = o.state == State::at_warp_op && o.warp_mask == f.warp_mask && o.warp_op == f.warp_op;
    }
    if (!all) continue;
    seen |= f.warp_mask;
    int id = -1;
    if (f.meeting >= 0) {
      if (free_meetings.empty()) {
        free_meetings.push_back(int(meetings.size()));
        meetings.emplace_back();
      }
      id = free_meetings.back();
      free_meetings.pop_back();
      meetings[id].readers = __builtin_popcount(f.warp_mask);
    }
    for (uint32_t rest = f.warp_mask; rest; rest &= rest - 1) {
      const unsigned j = unsigned(__builtin_ctz(rest));
      Fiber& o = threads[base + j];
      if (id >= 0) meetings[id].value[j] = o.slot;
      o.meeting = id;
      o.state = State::ready;
      next.push_back(base + j);
    }
  }
}

}  // namespace autoal::dev::host
