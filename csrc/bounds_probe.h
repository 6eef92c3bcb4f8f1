// What tests ask of the bounds by which lazy selections rule pairs of rows out; bounds_probe.cpp.
#pragma once
#include <cstdint>

#include "ops.h"

namespace autoal {

// Each [N, N], of row i and center j.
struct PairBounds {
  const float* bounds;
  float* exact;  // distances as plain passes have them
  bool* left;    // whether the pair is not ruled out, although its distance may be below the bound
};

// Squared distances of rows x [N, D], or of a_i (x) x_i where a [N, C] is given; every row is a center. apart: BADGE's
// narrow factor alone rules out, as where few pairs of a panel are left, and pairs that it leaves are not looked at
// again.
namespace cpu {
void probe_bounds(const Matrix& x, const float* a, int64_t c, bool apart, const PairBounds& pairs);
}
// x: float32, at most 64 rows.
namespace cuda {
void probe_bounds(const Matrix& x, const float* a, int64_t c, bool apart, const PairBounds& pairs);
}

}  // namespace autoal
