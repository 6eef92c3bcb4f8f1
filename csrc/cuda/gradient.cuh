// The metric of BADGE: the squared distance of gradients g_i = a_i (x) h_i, which are never formed:
// |g_i - g_j|^2 = |g_i|^2 + |g_j|^2 - 2 <a_i, a_j> <h_i, h_j>. lazy_bounds.cuh says what a metric is.
//
// Most centers are ruled out by the narrow factor alone: <h_i, h_j> is at most |h_i| |h_j|. Only tiles in which many
// pairs are left have the wide products taken too. Norms are the same numbers in a bound as in the exact form. With
// S the sum of both |g|^2 + 2^-126 (C + 16) |h|^2, which is at least twice the product of the true lengths of the
// gradients even where the squares of a small a vanished in its norm, and u = 2^-24, both differ by
//   the exact form: its products, in 32 parts each, their product, and the sum of the three   ((C + D) / 32 + 18) u S
//   twice the products of a tile (tile.cuh)   (C + D) u S, or where factors were rounded 4.1 (C + D + 32) u S
//   lengths |h| that were taken too small, and the arithmetic of the bound                    (D / 32 + 12) u S
// which is below 4 (C + D + 32) u S, or where factors were rounded 8 (C + D + 32) u S; to which rounding a factor adds
// 2^-6 (1 + 2^-9) |g_i| |g_j|, true lengths again. What sums lose of products below 2^-126 is below 2^-123 C |h_i|
// |h_j| and 2^-120 D, because no |a| is above the root of 2.
#pragma once
#include "cuda/tile.cuh"

namespace autoal::cuda {

template <class T>
struct Gradients {
  const float* a;  // [n, c]
  const T* h;      // [n, d]
  int64_t n, c, d;
  const float *norms, *lengths;  // [n] |g|^2, the product of the factors' squared norms; [n] |h|

  static constexpr int kDown = 4, kAcross = kWarp / kDown;
  static constexpr int kMany = 64;  // wide products are taken by tile where one pair in so many needs them

  struct Memory {
    tile::Memory tile;
    int64_t narrow[2][kTile], wide[2][kTile];                // where numbers begin; of the rows, of the centers
    float norm[2][kTile], length[2][kTile], size[2][kTile];  // |g|^2, |h|, |g|
  };

  // Nothing is left to be found.
  __device__ void find_middle() const {}
  __device__ void find_norm(int64_t) const {}

  // A warp: the norm and the length of a row, which the metric reads.
  __device__ __forceinline__ void measure(int64_t i, float* norm, float* length) const {
    const float aa = warp_dot(a + i * c, a + i * c, c), hh = warp_dot(h + i * d, h + i * d, d);
    if (threadIdx.x % kWarp != 0) return;
    norm[i] = __fmul_rn(aa, hh);
    length[i] = sqrtf(hh);
  }

  // The product of the factors rounds as a norm does: copies are at distance 0 exactly.
  __device__ __forceinline__ float distance(float aa, float hh, int64_t i, int64_t j) const {
    const float between = (norms[i] + norms[j]) - 2.0f * __fmul_rn(aa, hh);
    return i != j && between > 0.0f ? between : 0.0f;
  }

  __device__ __forceinline__ float exact(int64_t i, int64_t j) const {
    return distance(warp_dot(a + i * c, a + j * c, c), warp_dot(h + i * d, h + j * d, d), i, j);
  }

  __device__ __forceinline__ float exact_pairs(const int64_t (&rows)[kDown], const int64_t (&others)[kAcross]) const {
    const float aa = products(a, c, rows, others), hh = products(h, d, rows, others);
    int64_t i = rows[0], j = others[0];
    AUTOAL_UNROLL
    for (int r = 1; r < kDown; ++r)
      if (static_cast<int>(threadIdx.x % kWarp) / kAcross == r) i = rows[r];
    AUTOAL_UNROLL
    for (int o = 1; o < kAcross; ++o)
      if (static_cast<int>(threadIdx.x % kWarp) % kAcross == o) j = others[o];
    return distance(aa, hh, i, j);
  }

  __device__ void lower_bounds(Memory& memory, const int* rows, int n_rows, const int* centers, int n_centers,
                               const float* bounds, float (*low)[kTile + 1]) const {
    const bool narrow_rounded = rounds_products(c), wide_rounded = rounds_products(d);
    const float slack = (narrow_rounded || wide_rounded ? 8.0f : 4.0f) * static_cast<float>(c + d + 32) * 0x1p-24f;
    const float rounding = 0x1p-6f * (1.0f + 0x1p-6f);
    const float narrow_cross = narrow_rounded ? rounding : 0.0f;
    const float wide_cross = narrow_cross + (wide_rounded ? rounding * (1.0f + narrow_cross) : 0.0f);
    const float vanished = static_cast<float>(c + 16) * 0x1p-126f;  // of |a|^2 at most
    const float narrow_tiny = static_cast<float>(c + 16) * 0x1p-123f, tiny = static_cast<float>(d + 16) * 0x1p-120f;
    if (threadIdx.x < 2 * kTile) {
      const int side = threadIdx.x / kTile, i = threadIdx.x % kTile, count = side ? n_centers : n_rows;
      const int64_t row = (side ? centers : rows)[i < count ? i : 0];
      memory.narrow[side][i] = row * c;
      memory.wide[side][i] = row * d;
      const float norm = norms[row], length = lengths[row];
      const float most = norm + length * (length * vanished);
      memory.norm[side][i] = i < count ? norm - slack * most : __uint_as_float(0x7f800000u);
      memory.length[side][i] = length;
      memory.size[side][i] = sqrtf(most * (1.0f + slack));
    }
    __syncthreads();
    // From the largest that a product of the gradients can be, but for rounded factors.
    const auto bound = [&](int r, int o, float product, float cross) {
      const float sizes = memory.size[0][r] * memory.size[1][o], lengths = memory.length[0][r] * memory.length[1][o];
      const float norms = memory.norm[0][r] + memory.norm[1][o];
      return __fmaf_rn(-cross, sizes, __fmaf_rn(-2.0f, product, norms)) - __fmaf_rn(narrow_tiny, lengths, tiny);
    };
    const auto narrow_bound = [&](int r, int o) {
      return bound(r, o, fabsf(low[r][o]) * (memory.length[0][r] * memory.length[1][o]), narrow_cross);
    };
    const auto number = [&](int side) { return [&, side](int i, int64_t j) { return a[memory.narrow[side][i] + j]; }; };
    tile_products(memory.tile, c, narrow_rounded, number(0), number(1),
                  [&](int r, int o, float product) { low[r][o] = product; });
    __syncthreads();
    int left = 0;
    for (int i = threadIdx.x; i < n_rows * kTile; i += kThreads)
      left += i % kTile < n_centers && narrow_bound(i / kTile, i % kTile) < bounds[i / kTile];
    if (block_sum(left) * kMany <= n_rows * n_centers) {
      for (int i = threadIdx.x; i < kTile * kTile; i += kThreads)
        low[i / kTile][i % kTile] = narrow_bound(i / kTile, i % kTile);
    } else {
      const auto wide_number = [&](int side) {
        return [&, side](int i, int64_t j) { return to_float(h[memory.wide[side][i] + j]); };
      };
      tile_products(memory.tile, d, wide_rounded, wide_number(0), wide_number(1),
                    [&](int r, int o, float product) { low[r][o] = bound(r, o, low[r][o] * product, wide_cross); });
    }
    __syncthreads();
  }

 private:
  // A warp: lane l gets <x_i, x_j> of the l-th pair, added up as warp_dot does it.
  template <class Number>
  static __device__ __forceinline__ float products(const Number* x, int64_t columns, const int64_t (&rows)[kDown],
                                                   const int64_t (&others)[kAcross]) {
    float sums[kWarp] = {};
    for (int64_t j = threadIdx.x % kWarp; j < columns; j += kWarp) {
      float u[kDown], v[kAcross];
      AUTOAL_UNROLL
      for (int r = 0; r < kDown; ++r) u[r] = to_float(x[rows[r] * columns + j]);
      AUTOAL_UNROLL
      for (int o = 0; o < kAcross; ++o) v[o] = to_float(x[others[o] * columns + j]);
      AUTOAL_UNROLL
      for (int i = 0; i < kWarp; ++i) sums[i] = __fmaf_rn(u[i / kAcross], v[i % kAcross], sums[i]);
    }
    return warp_sums(sums);
  }
};

}  // namespace autoal::cuda
