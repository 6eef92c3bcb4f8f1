// A row's softmax statistics, read once by the lanes of a group and merged.
#pragma once
#include "cuda/common.cuh"

namespace autoal::cuda {

constexpr float kVanished = -128.0f;  // e^v is 0 from here on, whatever v is
constexpr int kNoClass = 0x7fffffff;

__device__ __forceinline__ float minus_infinity() { return __uint_as_float(0xff800000u); }

// p ln p, rounded; 0 at p = 0, and below, where rounding may take a mean.
__device__ __forceinline__ float p_log_p(float p) { return p > 0.0f ? __fmul_rn(p, logf(p)) : 0.0f; }

// What sums are taken from: -inf - -inf would be NaN.
__device__ __forceinline__ float origin_of(float first) { return fmaxf(first, -3.402823466e38f); }

// The two largest values, the lowest class of the largest, and sums over classes:
//   logits: z = sum e^(x - origin), s = sum e^(x - origin) (x - origin);   probs: z = sum p, s = sum p ln p.
// NaN, +inf and a negative p make z or s NaN; no class at all (all -inf) leaves z at 0.
struct Sums {
  float first, second;
  int mode;
  float z, s;
};

__device__ __forceinline__ Sums no_sums(bool probs) {
  const float none = probs ? 0.0f : minus_infinity();
  return {none, none, kNoClass, 0.0f, 0.0f};
}

// Takes sums from an origin that is higher by -`by`.
__device__ __forceinline__ void lower(float& z, float& s, float by) {
  const float least = fmaxf(by, kVanished), f = dev::exponential(least);
  s = __fmul_rn(f, __fmaf_rn(z, least, s));
  z = __fmul_rn(z, f);
}

// Numbers of one lane, in runs of kRun. Those from run `runs` on, the same for a whole warp, are padding.
template <int kRuns, int kRun, class F>
__device__ __forceinline__ void each(int runs, const F& f) {
  AUTOAL_UNROLL
  for (int k = 0; k < kRuns; ++k) {
    if (k >= runs) break;
    AUTOAL_UNROLL
    for (int q = 0; q < kRun; ++q) f(k, q);
  }
}

// The largest two of them and of what was there; where the largest is new, its place among them, else `place`.
template <int kRuns, int kRun>
__device__ __forceinline__ int raise(float& first, float& second, int place, const float (&x)[kRuns][kRun], int runs) {
  each<kRuns, kRun>(runs, [&](int k, int q) {
    const float v = x[k][q];
    second = fmaxf(second, fminf(first, v));
    place = v > first ? k * kRun + q : place;
    first = fmaxf(first, v);
  });
  return place;
}

// Their z and s; of logits, x becomes e^(x - origin). Runs are summed apart, so that rounding does not add up.
template <int kRuns, int kRun>
__device__ __forceinline__ void sum_up(float& z, float& s, float (&x)[kRuns][kRun], int runs, bool probs,
                                       float origin) {
  float run_z = 0.0f, run_s = 0.0f;
  const auto end_run = [&](int q) {
    if (q + 1 < kRun) return;
    z += run_z;
    s += run_s;
    run_z = run_s = 0.0f;
  };
  if (probs)
    each<kRuns, kRun>(runs, [&](int k, int q) {
      const float p = x[k][q];
      run_z += p;
      if (p != 0.0f) run_s = __fmaf_rn(p, logf(p), run_s);  // NaN of a negative one
      end_run(q);
    });
  else
    each<kRuns, kRun>(runs, [&](int k, int q) {
      const float v = x[k][q] - origin, e = dev::exponential(v);
      run_z += e;
      run_s = __fmaf_rn(e, fmaxf(v, kVanished), run_s);  // p = 0 adds nothing
      x[k][q] = e;
      end_run(q);
    });
}

// One more part of a row, of numbers whose class is class_of(place); it too is summed apart.
template <int kRuns, int kRun, class ClassOf>
__device__ __forceinline__ void add(Sums& r, float (&x)[kRuns][kRun], int runs, bool probs, const ClassOf& class_of) {
  const float before = origin_of(r.first);
  const int place = raise(r.first, r.second, -1, x, runs);
  if (place >= 0) r.mode = class_of(place);
  const float origin = origin_of(r.first);
  float z = 0.0f, s = 0.0f;
  sum_up(z, s, x, runs, probs, origin);
  if (!probs) lower(r.z, r.s, before - origin);
  r.z += z;
  r.s += s;
}

__device__ __forceinline__ float sum_lanes(float v, int width) {
  for (int o = width / 2; o > 0; o >>= 1) v += __shfl_xor_sync(kAll, v, o);
  return v;
}

// The largest number over groups of `width` lanes, a power of two up to a warp, and with it the lowest class of it
// (kMode) or the second largest.
template <bool kMode>
__device__ __forceinline__ void merge_tops(Sums& r, int width) {
  for (int o = width / 2; o > 0; o >>= 1) {
    const float first = __shfl_xor_sync(kAll, r.first, o);
    if constexpr (kMode) {
      const int mode = __shfl_xor_sync(kAll, r.mode, o);
      if (first > r.first || (first == r.first && mode < r.mode)) r.mode = mode;
    } else {
      r.second = fmaxf(fmaxf(r.second, __shfl_xor_sync(kAll, r.second, o)), fminf(r.first, first));
    }
    r.first = fmaxf(r.first, first);
  }
}

// All of it; all lanes get it.
template <bool kMode>
__device__ __forceinline__ void merge_lanes(Sums& r, int width, bool probs) {
  const float before = origin_of(r.first);
  merge_tops<kMode>(r, width);
  if (!probs) lower(r.z, r.s, before - origin_of(r.first));
  r.z = sum_lanes(r.z, width);
  r.s = sum_lanes(r.s, width);
}

// The same, of groups that may also be blocks of kThreads, whose threads all call it.
template <bool kMode>
__device__ __forceinline__ void merge(Sums& r, int width, bool probs) {
  merge_lanes<kMode>(r, width < kWarp ? width : kWarp, probs);
  if (width <= kWarp) return;
  AUTOAL_SHARED(of_warps, Sums[kWarps]);
  if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = r;
  __syncthreads();
  r = of_warps[threadIdx.x % kWarps];
  __syncthreads();
  merge_lanes<kMode>(r, kWarps, probs);
}

__device__ __forceinline__ bool is_distribution(const Sums& r, bool probs, float tolerance) {
  if (probs) return r.s == r.s && r.z >= 1.0f - tolerance && r.z <= 1.0f + tolerance;
  return r.z > 0.0f;
}

// `scale`: what makes probabilities of logits, 1 / z.
__device__ __forceinline__ float entropy_of(const Sums& r, bool probs, float scale) {
  return probs ? -r.s : logf(r.z) - r.s * scale;
}

template <class Integer>
__global__ void __launch_bounds__(kThreads) set_kernel(Integer* target, Integer value) {
  if (blockIdx.x == 0 && threadIdx.x == 0) *target = value;
}

__device__ __forceinline__ void note_bad(int64_t* bad_row, int64_t row) {
  atomicMin(reinterpret_cast<unsigned long long*>(bad_row), static_cast<unsigned long long>(row));
}

}  // namespace autoal::cuda
