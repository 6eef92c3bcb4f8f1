// Inner products of rows with a panel of centers, in register tiles; compiled once per instruction set.
#include "cpu/vector.h"

namespace {

#if defined(__AVX512F__)
constexpr int kTileRows = 8;
#else
constexpr int kTileRows = 4;
#endif

template <int kRows>
inline __attribute__((always_inline)) void tile(const float* rows, int64_t stride, const float* panel, int64_t d,
                                                float* out) {
  Floats acc[kRows][kVectors] = {};
  for (int64_t j = 0; j < d; ++j) {
    Floats c[kVectors];
    for (int v = 0; v < kVectors; ++v) c[v] = load(panel + j * kPanel + v * kLanes);
    for (int r = 0; r < kRows; ++r) {
      const Floats x = splat(rows[r * stride + j]);
      for (int v = 0; v < kVectors; ++v) acc[r][v] += x * c[v];
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int v = 0; v < kVectors; ++v) store(out + r * kPanel + v * kLanes, acc[r][v]);
}

}  // namespace

extern "C" {

// How many centers a panel holds; at most 64.
int64_t AUTOAL_HOT(autoal_panel_width)() { return kPanel; }

// Center `lane` of the panel [d, width] becomes row [d].
void AUTOAL_HOT(autoal_panel_set)(float* panel, int64_t lane, const float* row, int64_t d) {
  for (int64_t j = 0; j < d; ++j) panel[j * kPanel + lane] = row[j];
}

// out [n, width] = <row r, center l> of n rows `stride` apart. A product does not depend on where its row stands.
void AUTOAL_HOT(autoal_panel_products)(const float* rows, int64_t n, int64_t stride, const float* panel, int64_t d,
                                       float* out) {
  int64_t r = 0;
  for (; r + kTileRows <= n; r += kTileRows) tile<kTileRows>(rows + r * stride, stride, panel, d, out + r * kPanel);
  const float* rest = rows + r * stride;
  switch (n - r) {
    case 7:
      return tile<7>(rest, stride, panel, d, out + r * kPanel);
    case 6:
      return tile<6>(rest, stride, panel, d, out + r * kPanel);
    case 5:
      return tile<5>(rest, stride, panel, d, out + r * kPanel);
    case 4:
      return tile<4>(rest, stride, panel, d, out + r * kPanel);
    case 3:
      return tile<3>(rest, stride, panel, d, out + r * kPanel);
    case 2:
      return tile<2>(rest, stride, panel, d, out + r * kPanel);
    case 1:
      return tile<1>(rest, stride, panel, d, out + r * kPanel);
    default:
      return;
  }
}

// out[r, l] = a[r, l] b[r, l]
void AUTOAL_HOT(autoal_panel_multiply)(const float* a, const float* b, int64_t n, float* out) {
  for (int64_t i = 0; i < n * kPanel; i += kLanes) store(out + i, load(a + i) * load(b + i));
}

// out[r, l] = |products[r, l]| lengths[l] length[r]
void AUTOAL_HOT(autoal_panel_largest)(const float* products, int64_t n, const float* lengths, const float* length,
                                      float* out) {
  for (int64_t r = 0; r < n; ++r)
    for (int v = 0; v < kVectors; ++v) {
      const Floats p = load(products + r * kPanel + v * kLanes);
      store(out + r * kPanel + v * kLanes, maximum(p, -p) * (load(lengths + v * kLanes) * length[r]));
    }
}

// hits[r]: bit l is set where offset[l] - 2 product[r, l] < threshold[r].
void AUTOAL_HOT(autoal_panel_below)(const float* products, int64_t n, const float* offset, const float* threshold,
                                    uint64_t* hits) {
  Floats base[kVectors];
  for (int v = 0; v < kVectors; ++v) base[v] = load(offset + v * kLanes);
  for (int64_t r = 0; r < n; ++r) {
    const Floats limit = splat(threshold[r]);
    uint64_t bits = 0;
    for (int v = 0; v < kVectors; ++v) {
      const Ints below = base[v] - 2.0f * load(products + r * kPanel + v * kLanes) < limit;
      bits |= static_cast<uint64_t>(lane_bits(below)) << (v * kLanes);
    }
    hits[r] = bits;
  }
}

}  // extern "C"
