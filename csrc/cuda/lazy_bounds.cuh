// Upper bounds on the distance of each row to its nearest center, brought up to date only for the rows that somebody
// asks about: what csrc/cpu/lazy_bounds.h is to the CPU, as functions of the whole grid.
//
// A Metric (euclidean.cuh) has the rows and the arithmetic. All distances are squared, and what is called exact equals
// those of a plain pass to the last bit:
//   Memory                                     what a block needs of shared memory
//   exact(a, b)                                a warp: the distance of two rows; all lanes get it
//   exact_pairs(a[kDown], b[kAcross])          a warp: lane l gets that of a[l / kAcross] and b[l % kAcross]
//   lower_bounds(memory, rows, n_rows, centers, n_centers, bounds, low)
//                                              a block: low[r][c] is at most the exact distance of rows[r] and
//                                              centers[c], infinity for other r or c below kTile. Only whether it is
//                                              below bounds[r] matters. Ends with a barrier; rows and bounds are in
//                                              shared memory.
#pragma once
#include "cuda/tile.cuh"

namespace autoal::cuda {

constexpr int kPanel = kTile;     // centers that are met together
constexpr int kGroup = kThreads;  // rows that a block refreshes together; each thread keeps the books of one

// Numbers the threads of a block that `keep`, in their order; gives how many there are.
__device__ __forceinline__ int block_rank(bool keep, int& rank) {
  AUTOAL_SHARED(counts, int[kWarps]);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const unsigned kept = __ballot_sync(kAll, keep);
  if (lane == 0) counts[warp] = __popc(kept);
  __syncthreads();
  int total = 0;
  rank = __popc(kept & ((1u << lane) - 1));
  for (int w = 0; w < kWarps; ++w) {
    if (w < warp) rank += counts[w];
    total += counts[w];
  }
  __syncthreads();
  return total;
}

namespace lazy {

template <class Metric>
struct Memory {
  typename Metric::Memory metric;
  float low[kTile][kTile + 1];
  int row[kGroup], seen[kGroup], active[kGroup];
  float bound[kGroup];
  int tile_rows[kTile];
  float tile_bounds[kTile];
  int oldest;
};

// A warp: lowers the bound of a row by those of 64 centers that might, the most promising first, so that few are left
// to be looked at.
template <class Metric>
__device__ __forceinline__ float lowered(const Metric& metric, int row, float bound, const int* centers, int skipped,
                                         const float* low) {
  const float infinity = __uint_as_float(0x7f800000u);
  const int lane = threadIdx.x % kWarp;
  float a = lane < skipped ? infinity : low[lane], b = lane + kWarp < skipped ? infinity : low[lane + kWarp];
  for (;;) {
    const float mine = fminf(a, b);  // NaN, of rows that nobody checked, hides no other
    if (!__any_sync(kAll, mine < bound)) return bound;
    float least = mine;
    for (int o = kWarp / 2; o > 0; o >>= 1) {
      const float other = __shfl_xor_sync(kAll, least, o);
      least = fminf(least, other);
    }
    const int from = __ffs(static_cast<int>(__ballot_sync(kAll, mine == least))) - 1;
    const int center = __shfl_sync(kAll, a == mine ? lane : lane + kWarp, from);
    if (lane == from) (a == mine ? a : b) = infinity;
    const float distance = metric.exact(row, centers[center]);
    bound = distance < bound ? distance : bound;
  }
}

// A block: rows [begin, begin + n) of the list against its share of the panels of centers. Only a block that has all
// panels leaves rows alone that have fallen to their floors: of the others, none knows what the rest has done.
template <class Metric, class Floor>
__device__ void refresh_group(const Metric& metric, Memory<Metric>& memory, const int* rows, int64_t begin, int n,
                              int part, int parts, const int* centers, int64_t n_centers, float* bound, const int* seen,
                              const Floor& floor, int* met) {
  const int slot = threadIdx.x;
  const bool here = slot < n;
  const int row = here ? rows[begin + slot] : 0;
  const int from = here ? seen[row] : static_cast<int>(n_centers);
  unsigned* bits = reinterpret_cast<unsigned*>(bound + row);  // of a number that is not below 0: they order like it
  const float before = here ? __uint_as_float(atomicMax(bits, 0u)) : 0.0f;  // others may be lowering it
  const float lowest = here && parts == 1 ? floor(begin + slot) : 0.0f;
  memory.row[slot] = row;
  memory.seen[slot] = from;
  memory.bound[slot] = before;
  if (slot == 0) memory.oldest = static_cast<int>(n_centers);
  __syncthreads();
  if (here) atomicMin(&memory.oldest, from);
  __syncthreads();

  const int64_t oldest = memory.oldest / kPanel, panels = (n_centers + kPanel - 1) / kPanel - oldest;
  int reached = from;
  for (int64_t panel = oldest + panels * part / parts; panel < oldest + panels * (part + 1) / parts; ++panel) {
    const int first = static_cast<int>(panel * kPanel);
    const int last = static_cast<int>(n_centers - first < kPanel ? n_centers : first + kPanel);
    const float now = memory.bound[slot];
    const bool meets = from < last && now > 0.0f && now > lowest;  // nothing lowers 0
    int rank;
    const int n_active = block_rank(meets, rank);
    if (meets) {
      memory.active[rank] = slot;
      reached = last;
    }
    __syncthreads();
    for (int tile = 0; tile < n_active; tile += kTile) {
      const int n_rows = n_active - tile < kTile ? n_active - tile : kTile;
      if (slot < n_rows) {
        memory.tile_rows[slot] = memory.row[memory.active[tile + slot]];
        memory.tile_bounds[slot] = memory.bound[memory.active[tile + slot]];
      }
      __syncthreads();
      metric.lower_bounds(memory.metric, memory.tile_rows, n_rows, centers + first, last - first, memory.tile_bounds,
                          memory.low);
      for (int r = threadIdx.x / kWarp; r < n_rows; r += kWarps) {
        const int active = memory.active[tile + r];
        const float low = lowered(metric, memory.row[active], memory.tile_bounds[r], centers + first,
                                  memory.seen[active] - first, memory.low[r]);
        if (threadIdx.x % kWarp == 0) memory.bound[active] = low;
      }
      __syncthreads();
    }
  }
  if (!here) return;
  if (memory.bound[slot] < before) atomicMin(bits, __float_as_uint(memory.bound[slot]));
  if (part == 0) met[begin + slot] = parts == 1 ? reached : static_cast<int>(n_centers);
}

}  // namespace lazy

// Whole grid. Brings the bounds of rows [count], all different, up to date against centers [seen[row], n_centers), or
// down to floor(position in rows) and no further. After the caller's grid_sync, met [count] tells how many centers each
// row has met; until then neither seen nor any bound may change. Rows that have seen about equally many should be
// neighbours.
template <class Metric, class Floor>
__device__ void refresh_rows(const Metric& metric, const int* rows, int64_t count, const int* centers,
                             int64_t n_centers, float* bound, const int* seen, const Floor& floor, int* met) {
  AUTOAL_SHARED(memory, lazy::Memory<Metric>);
  const int64_t blocks = gridDim.x, tiles = (count + kTile - 1) / kTile, fair = (tiles + blocks - 1) / blocks * kTile;
  const int64_t step = fair < kTile ? kTile : fair > kGroup ? kGroup : fair;
  const int64_t groups = (count + step - 1) / step, parts = groups > 0 && groups < blocks ? blocks / groups : 1;
  for (int64_t item = blockIdx.x; item < groups * parts; item += blocks) {
    const int64_t begin = item / parts * step;
    const int n = static_cast<int>(count - begin < step ? count - begin : step);
    __syncthreads();  // the item before may still be read
    lazy::refresh_group(metric, memory, rows, begin, n, static_cast<int>(item % parts), static_cast<int>(parts),
                        centers, n_centers, bound, seen, floor, met);
  }
}

// Whole grid: out [count, count] = the exact distances of the rows to each other. Blocks take tiles of 32 by 32 on and
// above the diagonal, so that their rows are read from the nearest cache.
template <class Metric>
__device__ void pair_distances(const Metric& metric, const int* rows, int64_t count, float* out) {
  constexpr int kDown = Metric::kDown, kAcross = Metric::kAcross, kSide = kDown * kWarps;
  const int64_t side = (count + kSide - 1) / kSide, even = side + side % 2;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  // Row r of the tiles, which has even - r of them, makes with row even - 1 - r a row of even + 1.
  for (int64_t item = blockIdx.x; item < even / 2 * (even + 1); item += gridDim.x) {
    const int64_t r = item / (even + 1), c = item % (even + 1);
    const int64_t tile_row = c < even - r ? r : even - 1 - r, tile_column = c < even - r ? r + c : c - 1;
    const int64_t top = tile_row * kSide + warp * kDown;
    if (top >= count || tile_column >= side) continue;
    int64_t a[kDown], b[kAcross];
    for (int i = 0; i < kDown; ++i) a[i] = rows[top + i < count ? top + i : count - 1];
    for (int64_t left = tile_column * kSide; left < count && left < (tile_column + 1) * kSide; left += kAcross) {
      for (int i = 0; i < kAcross; ++i) b[i] = rows[left + i < count ? left + i : count - 1];
      const float distance = metric.exact_pairs(a, b);
      const int64_t i = top + lane / kAcross, j = left + lane % kAcross;
      if (i >= count || j >= count) continue;
      out[i * count + j] = distance;
      if (tile_row != tile_column) out[j * count + i] = distance;
    }
  }
}

}  // namespace autoal::cuda
