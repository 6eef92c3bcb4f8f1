// A block of the emulator: its threads, and what they share.
#pragma once
#include <cstdint>
#include <random>
#include <vector>

#include "cuda/host_fiber.h"

namespace autoal::dev::host {

struct Meeting {  // what the lanes of one warp operation handed in
  uint64_t value[32];
  int readers = 0;
};

struct Shared {
  const void* id;
  void* p;
  size_t bytes;
};

struct Block {
  uint3 id;
  std::vector<Fiber> threads;
  std::vector<Shared> shared;
  std::vector<Meeting> meetings;
  std::vector<int> free_meetings;
  std::vector<unsigned> turn, next;  // the threads that can go on, now and afterwards
  unsigned done = 0, at_barrier = 0, at_grid_barrier = 0;
  Tag barrier, warp_barrier[32];

  bool finished() const { return done == threads.size(); }

  // Makes it block `number` of a grid.
  void start(uint64_t number, dim3 grid, dim3 shape);
  // All threads that can go on do so once, up to where they next wait.
  void take_turn(std::mt19937_64& rng);
  // All can go on.
  void set_ready();
  // Lets go every warp operation of this warp whose lanes are all there.
  void release_warp(unsigned warp);
};

}  // namespace autoal::dev::host
