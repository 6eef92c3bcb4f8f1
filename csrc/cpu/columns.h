// kLanes rows as columns: a vector holds one number of each row, so that nothing is left to sum across lanes. What may
// stand here is said in vector.h.
#pragma once
#include "cpu/vector.h"

namespace {

// The rows of one vector's lanes. Where there are fewer, the last stands in for those that are missing.
template <class Number>
struct Rows {
  const Number* first;
  int64_t stride;
  int last;
  const Number* operator[](int lane) const { return first + (lane < last ? lane : last) * stride; }
};

inline Floats column(const Rows<float>& rows, int64_t j) {
  Floats v;
  for (int l = 0; l < kLanes; ++l) v[l] = rows[l][j];
  return v;
}

template <class Number>
inline Floats column(const Rows<Number>& rows, int64_t j) {
  Shorts s;
  for (int l = 0; l < kLanes; ++l) s[l] = rows[l][j].bits;
  return to_floats(s, Number{});
}

// Four numbers each, from j on, of rows i, i + 4, i + 8, ...
inline Floats quads(const Rows<float>& rows, int i, int64_t j) {
  typedef float Quad __attribute__((vector_size(16)));
  Quad q[kLanes / 4];
  for (int b = 0; b < kLanes / 4; ++b) __builtin_memcpy(&q[b], rows[4 * b + i] + j, sizeof q[b]);
#if (defined(__clang__) || __GNUC__ >= 12) && defined(__AVX512F__)
  return __builtin_shufflevector(__builtin_shufflevector(q[0], q[1], 0, 1, 2, 3, 4, 5, 6, 7),
                                 __builtin_shufflevector(q[2], q[3], 0, 1, 2, 3, 4, 5, 6, 7), 0, 1, 2, 3, 4, 5, 6, 7, 8,
                                 9, 10, 11, 12, 13, 14, 15);
#elif (defined(__clang__) || __GNUC__ >= 12) && defined(__AVX2__)
  return __builtin_shufflevector(q[0], q[1], 0, 1, 2, 3, 4, 5, 6, 7);
#else
  Floats v;
  for (int l = 0; l < kLanes; ++l) v[l] = q[l / 4][l % 4];
  return v;
#endif
}

template <class Number>
inline Floats quads(const Rows<Number>& rows, int i, int64_t j) {
  typedef uint64_t Quads __attribute__((vector_size(2 * kLanes)));
  Quads q;
  for (int b = 0; b < kLanes / 4; ++b) {
    uint64_t four;
    __builtin_memcpy(&four, rows[4 * b + i] + j, sizeof four);
    q[b] = four;
  }
  Shorts s;
  __builtin_memcpy(&s, &q, sizeof s);
  return to_floats(s, Number{});
}

// Of every four lanes, lane number l gets what its argument says: 0 to 3 of a's four, 4 to 7 of b's.
template <int l0, int l1, int l2, int l3>
inline Floats within_quads(Floats a, Floats b) {
  const Ints lane = lane_numbers() & 3, quad = lane_numbers() - lane;
  const Ints from = lane == 0 ? Ints{} + l0 : lane == 1 ? Ints{} + l1 : lane == 2 ? Ints{} + l2 : Ints{} + l3;
#if defined(__GNUC__) && !defined(__clang__)
  return __builtin_shuffle(a, b, quad + (from & 3) + (from >> 2) * kLanes);
#else
  Floats v;
  for (int l = 0; l < kLanes; ++l) v[l] = from[l] < 4 ? a[quad[l] + from[l]] : b[quad[l] + from[l] - 4];
  return v;
#endif
}

// Columns [0, n) of the rows; column j goes to out + j * step. By blocks of 4 x 4, turned in registers: number by
// number it takes five times as long.
template <class Number>
inline __attribute__((always_inline)) void transpose(const Rows<Number>& rows, int64_t n, float* out, int64_t step) {
  if (n < 4) {
    for (int64_t j = 0; j < n; ++j) store(out + j * step, column(rows, j));
    return;
  }
  for (int64_t k = 0; k < n; k += 4) {
    const int64_t j = k + 4 <= n ? k : n - 4;  // the last four overlap: nothing beyond a row is read
    const Floats a = quads(rows, 0, j), b = quads(rows, 1, j), c = quads(rows, 2, j), d = quads(rows, 3, j);
    const Floats ab = within_quads<0, 4, 1, 5>(a, b), cd = within_quads<0, 4, 1, 5>(c, d);
    const Floats ab2 = within_quads<2, 6, 3, 7>(a, b), cd2 = within_quads<2, 6, 3, 7>(c, d);
    store(out + j * step, within_quads<0, 1, 4, 5>(ab, cd));
    store(out + (j + 1) * step, within_quads<2, 3, 6, 7>(ab, cd));
    store(out + (j + 2) * step, within_quads<0, 1, 4, 5>(ab2, cd2));
    store(out + (j + 3) * step, within_quads<2, 3, 6, 7>(ab2, cd2));
  }
}

// Columns [0, n) of `count` rows; column j goes to out + j * step.
template <class Number>
void read_columns(const Number* p, int64_t stride, int64_t count, int64_t n, float* out, int64_t step) {
  if (count >= kLanes)
    transpose(Rows<Number>{p, stride, kLanes - 1}, n, out, step);
  else
    transpose(Rows<Number>{p, stride, static_cast<int>(count) - 1}, n, out, step);
}

// The first `count` lanes.
inline void store_lanes(float* p, Floats v, int64_t count) {
  if (count >= kLanes)
    store(p, v);
  else
    for (int64_t l = 0; l < count; ++l) p[l] = v[l];
}

}  // namespace
