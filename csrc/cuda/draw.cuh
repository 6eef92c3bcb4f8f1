// D^2 weights on the device: sums of chunks, one draw, the fill when nothing is left. Shared by the two samplers.
#pragma once
#include "common/random.h"
#include "cuda/common.cuh"

namespace autoal::cuda {

static_assert(kDrawChunk % kThreads == 0, "each thread of a draw looks at as many rows");

struct Draw {
  float* weight;         // [n]
  double* sums;          // [chunks]
  uint8_t* picked;       // [n]
  int64_t* lowest_free;  // [1]: no row below it is free
};

inline int64_t draw_chunks(int64_t n) { return (n + kDrawChunk - 1) / kDrawChunk; }

inline Draw carve_draw(Carver& carver, int64_t n) {
  Draw d;
  d.weight = carver.take<float>(n);
  d.sums = carver.take<double>(draw_chunks(n));
  d.picked = carver.take<uint8_t>(n);
  d.lowest_free = carver.take<int64_t>(1);
  return d;
}

static __global__ void __launch_bounds__(kThreads) draw_start_kernel(Draw draw, int64_t n, int64_t* filled) {
  const int64_t stride = int64_t{gridDim.x} * kThreads, begin = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  for (int64_t i = begin; i < n; i += stride) {
    draw.weight[i] = __uint_as_float(0x7f800000u);
    draw.picked[i] = 0;
  }
  if (begin == 0) {
    *draw.lowest_free = 0;
    *filled = 0;
  }
}

// As if these rows were picked before all others.
static __global__ void __launch_bounds__(kThreads)
    leave_out_kernel(Draw draw, const int64_t* excluded, int64_t n_excluded) {
  for (int64_t j = int64_t{blockIdx.x} * kThreads + threadIdx.x; j < n_excluded; j += int64_t{gridDim.x} * kThreads) {
    draw.weight[excluded[j]] = 0.0f;
    draw.picked[excluded[j]] = 1;
  }
}

// Marks `row` as the j-th pick, or the lowest free row if row < 0. One thread.
__device__ inline void record_pick(const Draw& draw, int64_t row, int64_t* pick, int64_t* filled) {
  if (row < 0) {
    row = *draw.lowest_free;
    while (draw.picked[row]) ++row;
    *draw.lowest_free = row;
    *filled += 1;
  }
  *pick = row;
  draw.picked[row] = 1;
}

// One block: the row that draw number `counter` hits, by chunk, by a thread's share of the chunk, by row.
static __global__ void __launch_bounds__(kThreads)
    draw_kernel(Draw draw, int64_t n, uint64_t seed, uint64_t counter, int64_t* pick, int64_t* filled) {
  constexpr int64_t kShare = kDrawChunk / kThreads;
  AUTOAL_SHARED(share, double[kThreads]);
  AUTOAL_SHARED(chosen, int64_t[1]);
  AUTOAL_SHARED(rest, double[1]);
  const int64_t chunks = (n + kDrawChunk - 1) / kDrawChunk;
  if (threadIdx.x == 0) {
    double total = 0.0;
    for (int64_t c = 0; c < chunks; ++c) total += draw.sums[c];
    double r = __dmul_rn(uniform(seed, counter), total);  // rounded before anything is taken from it, as on the CPU
    int64_t hit = -1;
    if (*filled == 0 && total > 0.0)
      for (int64_t c = 0; c < chunks; ++c) {
        if (draw.sums[c] > 0.0) hit = c;  // the last chunk with weight, should rounding let r outrun the sums
        if (r < draw.sums[c]) break;
        if (c + 1 < chunks) r -= draw.sums[c];
      }
    chosen[0] = hit;
    rest[0] = r;
  }
  __syncthreads();
  const int64_t chunk = chosen[0];
  if (chunk < 0) {
    if (threadIdx.x == 0) record_pick(draw, -1, pick, filled);
    return;
  }
  const int64_t begin = chunk * kDrawChunk, end = begin + kDrawChunk < n ? begin + kDrawChunk : n;
  double s = 0.0;
  for (int64_t i = begin + threadIdx.x * kShare; i < begin + (threadIdx.x + 1) * kShare && i < end; ++i)
    s += draw.weight[i];
  share[threadIdx.x] = s;
  __syncthreads();
  if (threadIdx.x != 0) return;
  double r = rest[0];
  int64_t last = -1;
  for (int t = 0; t < kThreads; ++t) {
    if (!(share[t] > 0.0)) continue;
    const bool here = r < share[t];
    for (int64_t i = begin + t * kShare; i < begin + (t + 1) * kShare && i < end; ++i) {
      if (!(draw.weight[i] > 0.0f)) continue;
      last = i;
      if (here) {
        if (r < draw.weight[i]) break;
        r -= draw.weight[i];
      }
    }
    if (here) break;
    r -= share[t];
  }
  record_pick(draw, last, pick, filled);
}

}  // namespace autoal::cuda
