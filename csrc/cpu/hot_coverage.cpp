// Gains of weighted coverage, from products of rows with a panel of targets; compiled once per instruction set.
#include "cpu/vector.h"

namespace {

// -gamma |row - target|^2 of vector v of a panel. Copies get 0: their norms and products are the same number.
inline Floats exponent(const float* products, float norm, const float* panel_norms, float gamma, int v) {
  const Floats squares = load(panel_norms + v * kLanes) + norm;
  return maximum(squares - 2.0f * load(products + v * kLanes), Floats{}) * -gamma;
}

}  // namespace

extern "C" {

// products [n, width] become k = exp(-gamma (norms[r] + panel_norms[l] - 2 product)); 0 where a panel norm is infinite.
void AUTOAL_HOT(autoal_panel_kernel)(float* products, int64_t n, const float* norms, const float* panel_norms,
                                     float gamma) {
  for (int64_t r = 0; r < n; ++r)
    for (int v = 0; v < kVectors; ++v)
      store(products + r * kPanel + v * kLanes,
            exponential(exponent(products + r * kPanel, norms[r], panel_norms, gamma, v)));
}

// out[r] += sum over the panel of weights max(0, k - covered). No term is above 0 where the logarithm of k is below
// `limits`: exponentials are taken only of vectors that are not.
void AUTOAL_HOT(autoal_panel_gains)(const float* products, int64_t n, const float* norms, const float* panel_norms,
                                    const float* weights, const float* covered, const float* limits, float gamma,
                                    double* out) {
  for (int64_t r = 0; r < n; ++r) {
    Floats x[kVectors];
    Ints any = {};
    for (int v = 0; v < kVectors; ++v) {
      x[v] = exponent(products + r * kPanel, norms[r], panel_norms, gamma, v);
      any |= x[v] > load(limits + v * kLanes);
    }
    if (!any_lane(any)) continue;
    Floats total = {};
    for (int v = 0; v < kVectors; ++v) {
      const Floats extra = maximum(exponential(x[v]) - load(covered + v * kLanes), Floats{});
      total += load(weights + v * kLanes) * extra;
    }
    out[r] += sum(total);
  }
}

}  // extern "C"
