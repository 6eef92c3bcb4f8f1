// The metric of k-center greedy and k-means++: squared Euclidean distance. lazy_bounds.cuh says what a metric is.
//
// Products are those of rows less a row in their middle: distances stay what they are, and the norms, which the error
// of a product grows with, get as small as they can be. With S = |x|^2 + |c|^2 of such rows and u = 2^-24:
//   the exact form, a sum of squares in 32 parts, is off by     2 (D / 32 + 8) u S
//   both norms by                                               (D / 32 + 7) u S
//   taking off the middle by                                    4 u S
//   twice a product (tile.cuh) by                               D u S, or 2^-6 (1 + 2^-9) |x| |c| + 4.1 (D + 16) u S
//   the sum of the three by                                     4 u S
// which is below 4 (D + 16) u S, or where factors were rounded 8 (D + 16) u S + 2^-6 (1 + 2^-9) |x| |c|; lengths for
// the last term are taken a little too large. What sums of subnormal numbers lose is below 2^-120 (D + 16).
#pragma once
#include "cuda/tile.cuh"

namespace autoal::cuda {

template <class T>
struct Euclidean {
  const T* x;          // [n, d]
  const float* scale;  // [n] or nullptr
  int64_t n, d;
  float* norms;   // [n] squared, of rows less the middle
  float* middle;  // [d]

  static constexpr int64_t kSampled = 64;  // rows whose mean is the middle
  static constexpr int kDown = 4, kAcross = kWarp / kDown;

  struct Memory {
    tile::Memory tile;
    int64_t row[2][kTile];  // where its numbers begin; of the rows, of the centers
    float scale[2][kTile], norm[2][kTile], length[2][kTile];
  };

  __device__ __forceinline__ float scale_of(int64_t row) const { return scale ? scale[row] : 1.0f; }

  // Whole grid; before all else.
  __device__ void find_middle() const {
    const int64_t sampled = n < kSampled ? n : kSampled, apart = n / sampled;
    for (int64_t j = int64_t{blockIdx.x} * kThreads + threadIdx.x; j < d; j += int64_t{gridDim.x} * kThreads) {
      float sum = 0.0f;  // of quotients: the sum itself might overflow
      for (int64_t i = 0; i < sampled; ++i)
        sum += __fmul_rn(to_float(x[i * apart * d + j]), scale_of(i * apart)) / static_cast<float>(sampled);
      middle[j] = sum;
    }
  }

  // A warp.
  __device__ __forceinline__ void find_norm(int64_t row) const {
    float sum = 0.0f;
    for (int64_t j = threadIdx.x % kWarp; j < d; j += kWarp) {
      const float v = __fmul_rn(to_float(x[row * d + j]), scale_of(row)) - middle[j];
      sum = __fmaf_rn(v, v, sum);
    }
    sum = warp_sum(sum);
    if (threadIdx.x % kWarp == 0) norms[row] = sum;
  }

  __device__ __forceinline__ float exact(int64_t a, int64_t b) const {
    return warp_squared_distance(x + a * d, scale_of(a), x + b * d, scale_of(b), d);
  }

  __device__ __forceinline__ float exact_pairs(const int64_t (&a)[kDown], const int64_t (&b)[kAcross]) const {
    float sums[kWarp] = {}, scale_a[kDown], scale_b[kAcross];
    AUTOAL_UNROLL
    for (int r = 0; r < kDown; ++r) scale_a[r] = scale_of(a[r]);
    AUTOAL_UNROLL
    for (int c = 0; c < kAcross; ++c) scale_b[c] = scale_of(b[c]);
    for (int64_t j = threadIdx.x % kWarp; j < d; j += kWarp) {
      float u[kDown], v[kAcross];
      AUTOAL_UNROLL
      for (int r = 0; r < kDown; ++r) u[r] = __fmul_rn(to_float(x[a[r] * d + j]), scale_a[r]);
      AUTOAL_UNROLL
      for (int c = 0; c < kAcross; ++c) v[c] = __fmul_rn(to_float(x[b[c] * d + j]), scale_b[c]);
      AUTOAL_UNROLL
      for (int i = 0; i < kWarp; ++i) {
        const float diff = u[i / kAcross] - v[i % kAcross];
        sums[i] = __fmaf_rn(diff, diff, sums[i]);
      }
    }
    return warp_sums(sums);
  }

  __device__ void lower_bounds(Memory& memory, const int* rows, int n_rows, const int* centers, int n_centers,
                               const float*, float (*low)[kTile + 1]) const {
    const bool rounded = rounds_products(d);
    const float slack = (rounded ? 8.0f : 4.0f) * static_cast<float>(d + 16) * 0x1p-24f;
    const float cross = rounded ? 0x1p-6f * (1.0f + 0x1p-6f) : 0.0f;
    const float tiny = static_cast<float>(d + 16) * 0x1p-120f;
    if (threadIdx.x < 2 * kTile) {
      const int side = threadIdx.x / kTile, i = threadIdx.x % kTile, count = side ? n_centers : n_rows;
      const int64_t row = (side ? centers : rows)[i < count ? i : 0];
      memory.row[side][i] = row * d;
      memory.scale[side][i] = scale_of(row);
      memory.norm[side][i] = i < count ? norms[row] * (1.0f - slack) : __uint_as_float(0x7f800000u);
      memory.length[side][i] = sqrtf(norms[row] * (1.0f + slack));
    }
    __syncthreads();
    const auto number = [&](int side) {
      return [&, side](int i, int64_t j) {
        return __fmul_rn(to_float(x[memory.row[side][i] + j]), memory.scale[side][i]) - middle[j];
      };
    };
    tile_products(memory.tile, d, rounded, number(0), number(1), [&](int r, int c, float product) {
      const float norms = memory.norm[0][r] + memory.norm[1][c];
      const float lengths = memory.length[0][r] * memory.length[1][c];
      low[r][c] = __fmaf_rn(-cross, lengths, __fmaf_rn(-2.0f, product, norms)) - tiny;
    });
    __syncthreads();
  }
};

}  // namespace autoal::cuda
