// Cuts and buckets over all rows, by the whole grid: how many rows fall where is counted in a block's shared memory,
// added up in one of three arrays of bins in device memory, and after a grid_sync every block reads the sums for
// itself.
#pragma once
#include "cuda/common.cuh"

namespace autoal::cuda {

constexpr int kBinBits = 11;
constexpr int kBins = 1 << kBinBits;
constexpr int kBinsEach = kBins / kThreads;

// Counters in device memory, [3, kBins], all 0 at the start. A barrier of the grid lies between two calls of take(), so
// that of the arrays one is in use, one may still be read, and the third, which nobody looks at any more, is cleared.
struct Bins {
  unsigned* memory;
  int next;

  __device__ unsigned* take() {
    unsigned* now = memory + next * kBins;
    next = (next + 1) % 3;
    for (int b = blockIdx.x * kThreads + threadIdx.x; b < kBins; b += gridDim.x * kThreads)
      memory[next * kBins + b] = 0;
    return now;
  }
};

// Sum of v over the threads before this one; `total` over all.
__device__ __forceinline__ unsigned block_before(unsigned v, unsigned& total) {
  AUTOAL_SHARED(sums, unsigned[kWarps]);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  unsigned upto = v;
  for (int o = 1; o < kWarp; o *= 2) {
    const unsigned other = __shfl_up_sync(kAll, upto, o);
    if (lane >= o) upto += other;
  }
  if (lane == kWarp - 1) sums[warp] = upto;
  __syncthreads();
  unsigned before = upto - v;
  total = 0;
  for (int w = 0; w < kWarps; ++w) {
    if (w < warp) before += sums[w];
    total += sums[w];
  }
  __syncthreads();
  return before;
}

// counters[number] += 1 for each lane whose number is not negative, with one atomic operation per number in the warp.
// Gives what the counter was before a lane's turn.
__device__ __forceinline__ unsigned warp_count(unsigned* counters, int number) {
  const int lane = threadIdx.x % kWarp;
  unsigned mine = 0;
  for (unsigned left = __ballot_sync(kAll, number >= 0); left;) {
    const int leader = __ffs(static_cast<int>(left)) - 1, its = __shfl_sync(kAll, number, leader);
    const unsigned same = __ballot_sync(kAll, number == its);
    unsigned base = 0;
    if (lane == leader) base = atomicAdd(counters + its, static_cast<unsigned>(__popc(same)));
    base = __shfl_sync(kAll, base, leader);
    if (number == its) mine = base + __popc(same & ((1u << lane) - 1));
    left &= ~same;
  }
  return mine;
}

__device__ inline unsigned* block_bins() {
  AUTOAL_SHARED(bins, unsigned[kBins]);
  return bins;
}

// sums[b] += how many i in [0, count) have bin_of(i) == b; negative: none.
template <class BinOf>
__device__ void count_bins(int64_t count, const BinOf& bin_of, unsigned* sums) {
  unsigned* bins = block_bins();
  __syncthreads();  // what was there may still be read
  for (int b = threadIdx.x; b < kBins; b += kThreads) bins[b] = 0;
  __syncthreads();
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += int64_t{gridDim.x} * kThreads) {
    const int b = bin_of(i);
    if (b >= 0) atomicAdd(bins + b, 1u);
  }
  __syncthreads();
  for (int b = threadIdx.x; b < kBins; b += kThreads)
    if (bins[b]) atomicAdd(sums + b, bins[b]);
}

// Keys above `key` are the largest: `above` of `total` that are not 0.
struct Cut {
  Key key;
  int64_t above, total;
};

// Whole grid, with barriers. The largest of the keys key_of(i), i < count, which are all different where they are not
// 0: between half of `size` (not 0) and `size` of them, or all if there are no more; whatever the keys are.
template <class KeyOf>
__device__ Cut select_largest(Bins& bins, int64_t count, int64_t size, const KeyOf& key_of) {
  AUTOAL_SHARED(found, int64_t[2]);  // the digit after which there are too many, and how many are above it
  Cut cut{0, 0, 0};
  Key prefix = 0;
  for (int top = 63;;) {  // bit 63 is the sign of a value >= 0
    const int shift = top > kBinBits ? top - kBinBits : 0;
    unsigned* sums = bins.take();
    count_bins(
        count,
        [&](int64_t i) {
          const Key key = key_of(i);
          return key != 0 && key >> top == prefix ? static_cast<int>(key >> shift & ((Key{1} << (top - shift)) - 1))
                                                  : -1;
        },
        sums);
    dev::grid_sync();
    const int high = kBins - threadIdx.x * kBinsEach;  // thread 0 has the highest digits
    unsigned sum = 0, total;
    for (int i = 1; i <= kBinsEach; ++i) sum += sums[high - i];
    int64_t above = cut.above + block_before(sum, total);
    if (top == 63) cut.total = total;
    if (top == 63 && total <= size) return {0, total, total};
    if (above <= size && above + sum > size) {
      int digit = high - 1;
      for (; above + sums[digit] <= size; --digit) above += sums[digit];
      found[0] = digit;
      found[1] = above;
    }
    __syncthreads();
    prefix = prefix << (top - shift) | static_cast<Key>(found[0]);
    cut.above = found[1];
    __syncthreads();
    if (2 * cut.above >= size) {
      cut.key = ((prefix + 1) << shift) - 1;
      return cut;
    }
    top = shift;
  }
}

// Whole grid; rows are complete after the caller's grid_sync. rows = those row_of(i), i < count, that are not negative:
// the ones that have seen fewest centers first, as far as kBins buckets tell.
template <class RowOf>
__device__ void gather_by_seen(Bins& bins, int64_t count, const RowOf& row_of, const int* seen, int64_t n_centers,
                               int64_t panel, int* rows) {
  int64_t width = panel;  // centers of a bucket
  while (n_centers / width >= kBins) width *= 2;
  const auto bucket_of = [&](int64_t row) { return row < 0 ? -1 : static_cast<int>(seen[row] / width); };
  const unsigned* sums = bins.take();
  count_bins(count, [&](int64_t i) { return bucket_of(row_of(i)); }, const_cast<unsigned*>(sums));
  dev::grid_sync();
  unsigned* begins = block_bins();
  unsigned mine[kBinsEach], sum = 0, total;
  for (int i = 0; i < kBinsEach; ++i) sum += mine[i] = sums[threadIdx.x * kBinsEach + i];
  unsigned begin = block_before(sum, total);
  for (int i = 0; i < kBinsEach; begin += mine[i++]) begins[threadIdx.x * kBinsEach + i] = begin;
  __syncthreads();
  unsigned* taken = bins.take();
  for (int64_t first = int64_t{blockIdx.x} * kThreads; first < count; first += int64_t{gridDim.x} * kThreads) {
    const int64_t i = first + threadIdx.x, row = i < count ? row_of(i) : -1;
    const int bucket = bucket_of(row);
    const unsigned place = warp_count(taken, bucket);
    if (bucket >= 0) rows[begins[bucket] + place] = static_cast<int>(row);
  }
}

}  // namespace autoal::cuda
