// Inner products of 64 rows with 64 others by a whole block, for whoever only needs to know them within a bound: on
// tensor cores both factors are rounded to bfloat16.
//
// tile_products(memory, d, rounded, a, b, store): a(r, j) and b(c, j) are column j < d of row r and of other c; every
// r and c below kTile is asked for. store(r, c, product) is called once for each pair, by whichever thread has it; the
// caller synchronises before others look. How far off a product may be:
//   plain     a sum of d fused steps: d 2^-24 |a| |b|
//   rounded   bfloat16 has 8 bits, so a factor is off by 2^-8 of itself and a product by 2^-7 + 2^-16. The sum is
//             float, but how tensor cores round and in what order is not specified: a step is taken to lose up to
//             2^-22 of all that is in the sum, (d + 16) 2^-22 |a| |b| in all.
// What is below 2^-126 may count as 0 in both.
#pragma once
#include "cuda/common.cuh"

namespace autoal::cuda {

constexpr int kTile = 64;

namespace tile {

constexpr int kDepth = 16;            // columns in shared memory at a time, as floats
constexpr int kPairs = 16;            // pairs of columns, as bfloat16: two steps of the tensor cores
constexpr int kPairStride = 20;       // four more: the rows of a fragment lie in different banks
constexpr int kEach = 4;              // rows, and others, of a thread
constexpr int kSide = kTile / kEach;  // threads along a side
constexpr int kAcross = 4;            // fragments of 8 others that a warp multiplies its 16 rows by
static_assert(kSide * kSide == kThreads && kTile / 16 * (kTile / 8 / kAcross) == kWarps, "all threads share a tile");

union Memory {
  float numbers[2][kTile][kDepth + 1];
  uint32_t pairs[2][kTile][kPairStride];
};

template <class A, class B, class Store>
__device__ __forceinline__ void plain_products(Memory& memory, int64_t d, const A& a, const B& b, const Store& store) {
  auto& [rows, others] = memory.numbers;
  const int x = threadIdx.x % kSide, y = threadIdx.x / kSide;
  float sums[kEach][kEach] = {};
  for (int64_t begin = 0; begin < d; begin += kDepth) {
    const int column = threadIdx.x % kDepth;
    for (int r = threadIdx.x / kDepth; r < kTile; r += kThreads / kDepth) {
      const bool inside = begin + column < d;
      rows[r][column] = inside ? a(r, begin + column) : 0.0f;
      others[r][column] = inside ? b(r, begin + column) : 0.0f;
    }
    __syncthreads();
    for (int j = 0; j < kDepth; ++j) {
      AUTOAL_UNROLL
      for (int r = 0; r < kEach; ++r)
        for (int c = 0; c < kEach; ++c)
          sums[r][c] = __fmaf_rn(rows[y * kEach + r][j], others[x + c * kSide][j], sums[r][c]);
    }
    __syncthreads();
  }
  AUTOAL_UNROLL
  for (int r = 0; r < kEach; ++r)
    for (int c = 0; c < kEach; ++c) store(y * kEach + r, x + c * kSide, sums[r][c]);
}

// Rows and others in the fragments of dev::multiply_add; a warp has 16 rows and 32 others.
template <class A, class B, class Store>
__device__ __forceinline__ void tensor_products(Memory& memory, int64_t d, const A& a, const B& b, const Store& store) {
  auto& [rows, others] = memory.pairs;
  const int warp = threadIdx.x / kWarp, g = threadIdx.x % kWarp / 4, t = threadIdx.x % 4;
  const int row = warp % (kTile / 16) * 16 + g, other = warp / (kTile / 16) * 8 * kAcross + g;
  float sums[kAcross][4] = {};
  for (int64_t begin = 0; begin < d; begin += 2 * kPairs) {
    const int pair = threadIdx.x % kPairs;
    const int64_t j = begin + 2 * pair;
    AUTOAL_UNROLL
    for (int i = 0; i < kTile * kPairs / kThreads; ++i) {
      const int r = threadIdx.x / kPairs + i * (kThreads / kPairs);
      rows[r][pair] = dev::bfloat_pair(j < d ? a(r, j) : 0.0f, j + 1 < d ? a(r, j + 1) : 0.0f);
      others[r][pair] = dev::bfloat_pair(j < d ? b(r, j) : 0.0f, j + 1 < d ? b(r, j + 1) : 0.0f);
    }
    __syncthreads();
    AUTOAL_UNROLL
    for (int step = 0; step < kPairs; step += 8) {
      const uint32_t fragment[4] = {rows[row][step + t], rows[row + 8][step + t], rows[row][step + t + 4],
                                    rows[row + 8][step + t + 4]};
      AUTOAL_UNROLL
      for (int c = 0; c < kAcross; ++c)
        dev::multiply_add(sums[c], fragment, {others[other + 8 * c][step + t], others[other + 8 * c][step + t + 4]});
    }
    __syncthreads();
  }
  AUTOAL_UNROLL
  for (int c = 0; c < kAcross; ++c) {
    AUTOAL_UNROLL
    for (int i = 0; i < 4; ++i) store(row + i / 2 * 8, other - g + 8 * c + 2 * t + i % 2, sums[c][i]);
  }
}

}  // namespace tile

// Whether products of so many columns are worth rounding: narrow ones cost less than what surrounds them.
__device__ __forceinline__ bool rounds_products(int64_t d) { return dev::kTensorCores && d >= 64; }

template <class A, class B, class Store>
__device__ __forceinline__ void tile_products(tile::Memory& memory, int64_t d, bool rounded, const A& a, const B& b,
                                              const Store& store) {
  if (dev::kTensorCores && rounded)
    tile::tensor_products(memory, d, a, b, store);
  else
    tile::plain_products(memory, d, a, b, store);
}

}  // namespace autoal::cuda
