// Similarities of rows to a panel of targets, and what rows gain by them; compiled once per instruction set.
#include "cpu/vector.h"

namespace {

typedef float HalfFloats __attribute__((vector_size(2 * kLanes)));  // half as many, for what is twice as wide
typedef double Doubles __attribute__((vector_size(4 * kLanes)));
typedef uint64_t Longs __attribute__((vector_size(4 * kLanes)));

constexpr float kNear = 1.0f / 32.0f;  // of the norms: a squared distance below has lost five bits or more

// The sums' unit is 1.5 * 2^52 times smaller than `magic`: adding that leaves the terms, in units, in the low bits.
inline void add_units(Floats terms, double magic, Longs& low, Longs& high) {
  HalfFloats half[2];
  __builtin_memcpy(half, &terms, sizeof terms);
  const Doubles a = __builtin_convertvector(half[0], Doubles) + magic;
  const Doubles b = __builtin_convertvector(half[1], Doubles) + magic;
  Longs units;
  __builtin_memcpy(&units, &a, sizeof units);
  low += units;
  __builtin_memcpy(&units, &b, sizeof units);
  high += units;
}

inline uint64_t bits_of(double v) {
  uint64_t bits;
  __builtin_memcpy(&bits, &v, sizeof bits);
  return bits;
}

}  // namespace

extern "C" {

// products [n, width] become k = exp(-gamma d2), d2 = 2 (norms[r] + panel_norms[l] - product) by the halves of squared
// norms; 0 where a panel norm is infinite, and for a whole vector none of which can have its logarithm above `limits`
// or above row_limits[r], though d2 be off by `slack` times the norms. Of the others near[r] gets the bits of the lanes
// that are so near that they are to be computed anew.
void AUTOAL_HOT(autoal_panel_kernel)(float* products, int64_t n, const float* norms, const float* panel_norms,
                                     const float* limits, const float* row_limits, float gamma, float slack,
                                     uint64_t* near) {
  for (int64_t r = 0; r < n; ++r) {
    near[r] = 0;
    for (int v = 0; v < kVectors; ++v) {
      float* k = products + r * kPanel + v * kLanes;
      const Floats both = load(panel_norms + v * kLanes) + norms[r], half = both - load(k);
      const Floats least = both * (1.0f - slack) - load(k);
      const Ints above = least * (-2.0f * gamma) > minimum(load(limits + v * kLanes), splat(row_limits[r]));
      if (any_lane(above)) {
        store(k, exponential(maximum(half, Floats{}) * (-2.0f * gamma)));
        near[r] |= static_cast<uint64_t>(lane_bits(above & (half < both * kNear))) << (v * kLanes);
      } else {
        store(k, Floats{});
      }
    }
  }
}

// out[r] += sum over the panel of weights max(0, k - covered), in units.
void AUTOAL_HOT(autoal_panel_gains)(const float* k, int64_t n, const float* weights, const float* covered, double magic,
                                    uint64_t* out) {
  for (int64_t r = 0; r < n; ++r) {
    Floats extra[kVectors];
    Ints any = {};
    for (int v = 0; v < kVectors; ++v) {
      extra[v] = maximum(load(k + r * kPanel + v * kLanes) - load(covered + v * kLanes), Floats{});
      any |= extra[v] > Floats{};
    }
    if (!any_lane(any)) continue;
    Longs low = {}, high = {};
    for (int v = 0; v < kVectors; ++v) add_units(load(weights + v * kLanes) * extra[v], magic, low, high);
    low += high;
    uint64_t total = 0;
    for (int l = 0; l < kLanes / 2; ++l) total += low[l];
    out[r] += total - kPanel * bits_of(magic);
  }
}

// The same for the panel's rows as candidates and the n rows as targets: out [width] += sum over r of weights[r] max(0,
// k - covered[r]), in units.
void AUTOAL_HOT(autoal_panel_gains_back)(const float* k, int64_t n, const float* weights, const float* covered,
                                         double magic, uint64_t* out) {
  for (int v = 0; v < kVectors; ++v) {
    Longs low = {}, high = {};
    for (int64_t r = 0; r < n; ++r) {
      const Floats extra = maximum(load(k + r * kPanel + v * kLanes) - covered[r], Floats{});
      add_units(weights[r] * extra, magic, low, high);
    }
    for (int l = 0; l < kLanes / 2; ++l) {
      out[v * kLanes + l] += low[l] - n * bits_of(magic);
      out[v * kLanes + kLanes / 2 + l] += high[l] - n * bits_of(magic);
    }
  }
}

// live[r]: bit l is set where k[r, l] > covered[l]: row r gains by target l.
void AUTOAL_HOT(autoal_panel_live)(const float* k, int64_t n, const float* covered, uint64_t* live) {
  for (int64_t r = 0; r < n; ++r) {
    live[r] = 0;
    for (int v = 0; v < kVectors; ++v)
      live[r] |= static_cast<uint64_t>(lane_bits(load(k + r * kPanel + v * kLanes) > load(covered + v * kLanes)))
                 << (v * kLanes);
  }
}

// live[r]: bit l is set where k[r, l] > covered[r]: the panel's row l gains by target r.
void AUTOAL_HOT(autoal_panel_live_back)(const float* k, int64_t n, const float* covered, uint64_t* live) {
  for (int64_t r = 0; r < n; ++r) {
    live[r] = 0;
    for (int v = 0; v < kVectors; ++v)
      live[r] |= static_cast<uint64_t>(lane_bits(load(k + r * kPanel + v * kLanes) > splat(covered[r])))
                 << (v * kLanes);
  }
}

}  // extern "C"
