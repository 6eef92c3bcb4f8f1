// One row's softmax statistics, read once by the lanes of a group and merged.
#pragma once
#include "cuda/common.cuh"

namespace autoal::cuda {

__device__ __forceinline__ float minus_infinity() { return __uint_as_float(0xff800000u); }
__device__ __forceinline__ bool is_finite(float v) { return (__float_as_uint(v) & 0x7f800000u) != 0x7f800000u; }

// p ln p, 0 at p = 0.
__device__ __forceinline__ float p_log_p(float p) { return p > 0.0f ? p * logf(p) : 0.0f; }

// The two largest values, the lowest class of the largest, and sums over classes:
//   logits: z = sum e^(x - first), s = sum e^(x - first) (x - first);   probs: z = sum p, s = sum p ln p.
struct RowStats {
  float first, second, z, s;
  int64_t mode;
  bool good;  // no NaN, no +inf; probs: no negative value
};

__device__ __forceinline__ RowStats empty_stats() {
  return {minus_infinity(), minus_infinity(), 0.0f, 0.0f, int64_t{1} << 62, true};
}

__device__ __forceinline__ void note_top(RowStats& r, float v, int64_t c) {
  if (v > r.first) {
    r.second = r.first;
    r.first = v;
    r.mode = c;
  } else {
    if (v == r.first && c < r.mode) r.mode = c;
    if (v > r.second) r.second = v;
  }
}

__device__ __forceinline__ void add_logit(RowStats& r, float x, int64_t c) {
  r.good = r.good && (is_finite(x) || x == minus_infinity());
  if (x == minus_infinity()) {
    if (r.first == minus_infinity() && c < r.mode) r.mode = c;
    return;  // p = 0 adds nothing
  }
  if (x > r.first) {  // rescale what was summed under the old maximum
    const float shift = r.first - x, f = r.first == minus_infinity() ? 0.0f : expf(shift);
    r.s = r.first == minus_infinity() ? 0.0f : f * (r.s + r.z * shift);
    r.z = r.z * f + 1.0f;
  } else {
    const float e = expf(x - r.first);
    r.z += e;
    r.s += e > 0.0f ? e * (x - r.first) : 0.0f;
  }
  note_top(r, x, c);
}

__device__ __forceinline__ void add_prob(RowStats& r, float p, int64_t c) {
  r.good = r.good && p >= 0.0f;
  r.z += p;
  r.s += p_log_p(p);
  note_top(r, p, c);
}

__device__ __forceinline__ RowStats merge(const RowStats& a, const RowStats& b, bool probs) {
  RowStats r;
  r.good = a.good && b.good;
  r.first = a.first > b.first ? a.first : b.first;
  const float low = a.first > b.first ? b.first : a.first, second = a.second > b.second ? a.second : b.second;
  r.second = low > second ? low : second;
  r.mode = a.first > b.first ? a.mode : b.first > a.first ? b.mode : a.mode < b.mode ? a.mode : b.mode;
  if (probs) {
    r.z = a.z + b.z;
    r.s = a.s + b.s;
    return r;
  }
  const float da = a.first - r.first, db = b.first - r.first;
  const float fa = a.z > 0.0f ? expf(da) : 0.0f, fb = b.z > 0.0f ? expf(db) : 0.0f;
  r.z = a.z * fa + b.z * fb;
  r.s = (fa > 0.0f ? fa * (a.s + a.z * da) : 0.0f) + (fb > 0.0f ? fb * (b.s + b.z * db) : 0.0f);
  return r;
}

// Merges over groups of `width` lanes (a power of two up to 32); all lanes get the result.
__device__ __forceinline__ RowStats merge_lanes(RowStats r, int width, bool probs) {
  for (int o = width / 2; o > 0; o >>= 1) {
    RowStats other;
    other.first = __shfl_xor_sync(kAll, r.first, o);
    other.second = __shfl_xor_sync(kAll, r.second, o);
    other.z = __shfl_xor_sync(kAll, r.z, o);
    other.s = __shfl_xor_sync(kAll, r.s, o);
    other.mode = __shfl_xor_sync(kAll, r.mode, o);
    other.good = __shfl_xor_sync(kAll, r.good ? 1 : 0, o) != 0;
    r = (threadIdx.x & o) ? merge(other, r, probs) : merge(r, other, probs);  // the same order for both partners
  }
  return r;
}

__device__ __forceinline__ bool is_distribution(const RowStats& r, bool probs, float tolerance) {
  if (probs) return r.good && r.z >= 1.0f - tolerance && r.z <= 1.0f + tolerance;
  return r.good && r.z > 0.0f && is_finite(r.z);
}

__device__ __forceinline__ float entropy_of(const RowStats& r, bool probs) {
  const float h = probs ? -r.s : logf(r.z) - r.s / r.z;
  return h > 0.0f ? h : 0.0f;
}

}  // namespace autoal::cuda
