// Vectors of floats for the hot files, which are compiled once per instruction set (AUTOAL_ISA), as wide as its
// registers: wider ones compile too, but GCC keeps them in memory and takes selects apart, which costs a factor of 2
// to 10. Everything here is static and uses no standard header, so that no copy made for AVX-512 can become the one
// that the linker keeps for everyone.
#pragma once
#include <stddef.h>
#include <stdint.h>

#define AUTOAL_CONCAT2(a, b) a##_##b
#define AUTOAL_CONCAT(a, b) AUTOAL_CONCAT2(a, b)
#define AUTOAL_HOT(name) AUTOAL_CONCAT(name, AUTOAL_ISA)

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));
typedef uint32_t Words __attribute__((vector_size(4 * kLanes)));
typedef uint16_t Shorts __attribute__((vector_size(2 * kLanes)));

constexpr int64_t kFewClasses = 32;  // as in isa.h

// A panel holds so many rows, side by side: [D, kPanel]. With the rows that meet it in a tile it fills the registers.
constexpr int kVectors = 3;
constexpr int kPanel = kVectors * kLanes;

// Callers give buffers whose length is a multiple of 16 (isa.h), which is one of every kLanes.
inline int64_t padded(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

inline Floats splat(float v) { return v - Floats{}; }
inline Floats load(const float* p) {
  Floats v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
inline void store(float* p, Floats v) { __builtin_memcpy(p, &v, sizeof v); }
inline Floats select(Ints mask, Floats yes, Floats no) { return mask ? yes : no; }
inline Floats maximum(Floats a, Floats b) { return select(a > b, a, b); }
inline Floats minimum(Floats a, Floats b) { return select(a < b, a, b); }

inline Ints lane_numbers() {
  Ints v;
  for (int l = 0; l < kLanes; ++l) v[l] = l;
  return v;
}

// The first `count` lanes of v; `rest` in the others.
inline Floats first_lanes(Floats v, int64_t count, float rest) {
  const int32_t n = count < kLanes ? static_cast<int32_t>(count) : kLanes;
  return select(lane_numbers() < n, v, splat(rest));
}

// Lane i gets lane i ^ distance.
template <class Vector>
inline Vector swapped(Vector v, int distance) {
#if defined(__GNUC__) && !defined(__clang__)
  return __builtin_shuffle(v, lane_numbers() ^ distance);
#else
  Vector w;
  for (int l = 0; l < kLanes; ++l) w[l] = v[l ^ distance];
  return w;
#endif
}

inline bool any_lane(Ints mask) {
  for (int distance = kLanes / 2; distance > 0; distance /= 2) mask |= swapped(mask, distance);
  return mask[0] != 0;
}

inline float sum(Floats v) {
  for (int distance = kLanes / 2; distance > 0; distance /= 2) v += swapped(v, distance);
  return v[0];
}

inline Floats bits_to_floats(Words w) {
  Floats v;
  __builtin_memcpy(&v, &w, sizeof v);
  return v;
}

constexpr float kLowest = -87.33f;  // its exponential is about the smallest normal number

// e^x for x in [kLowest, 88], to 2 ulp; NaN stays NaN. Range reduction by ln 2, polynomial by Cephes' coefficients.
inline Floats normal_exponential(Floats x) {
  const Floats magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const Floats shifted = x * 1.44269504088896341f + magic;
  const Floats n = shifted - magic;
  const Floats r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  Floats p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  Words exponent;
  __builtin_memcpy(&exponent, &shifted, sizeof exponent);
  const Floats scale = bits_to_floats((exponent + 127u) << 23);  // the low bits of `shifted` hold n
  return p * scale;
}

// e^x for x <= 88; 0 below kLowest.
inline Floats exponential(Floats x) {
  const Ints tiny = x < splat(kLowest);
  return select(tiny, Floats{}, normal_exponential(select(tiny, splat(kLowest), x)));
}

// ln x for normal x > 0, to 2 ulp (Cephes' logf).
inline Floats logarithm(Floats x) {
  Words w;
  __builtin_memcpy(&w, &x, sizeof w);
  Ints e = __builtin_convertvector((w >> 23), Ints) - 126;
  Floats m = bits_to_floats((w & 0x007fffffu) | 0x3f000000u);  // in [0.5, 1)
  const Ints low = m < splat(0.707106781186547524f);
  e += low;  // a true lane is -1
  m = select(low, m + m, m) - 1.0f;
  const Floats z = m * m;
  Floats p = splat(7.0376836292e-2f);
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  const Floats n = __builtin_convertvector(e, Floats);
  return m + (p * m * z + n * -2.12194440e-4f - 0.5f * z) + n * 0.693359375f;
}

// p ln p; 0 where p is 0 (or below the smallest normal number, where it is less than 1e-36).
inline Floats p_log_p(Floats p) {
  const Ints tiny = p < splat(1.17549435e-38f);
  return select(tiny, Floats{}, p * logarithm(select(tiny, splat(1.0f), p)));
}

enum { kFloat32 = 0, kFloat16 = 1, kBFloat16 = 2 };

struct Half {
  uint16_t bits;
};
struct BFloat {
  uint16_t bits;
};

// Adding 112 moves the exponent's bias from 15 to 127; Inf, NaN and subnormal numbers are put right. No subnormal float
// comes up: the caller's thread may flush them to 0.
inline Floats to_floats(Shorts s, Half) {
  const Words w = __builtin_convertvector(s, Words), exponent = w & 0x7c00u, sign = (w & 0x8000u) << 16;
  const Words normal = ((w & 0x7fffu) << 13) + (112u << 23);
  const Floats small = __builtin_convertvector(__builtin_convertvector(w & 0x3ffu, Ints), Floats) * 0x1p-24f;
  Words subnormal;
  __builtin_memcpy(&subnormal, &small, sizeof subnormal);
  const Words bits = exponent == 0x7c00u ? normal | 0x7f800000u : exponent == 0u ? subnormal : normal;
  return bits_to_floats(bits | sign);
}
inline Floats to_floats(Shorts s, BFloat) { return bits_to_floats(__builtin_convertvector(s, Words) << 16); }

template <class Number>
inline Floats load(const Number* p) {
  Shorts s;
  __builtin_memcpy(&s, p, sizeof s);
  return to_floats(s, Number{});
}

inline float to_float(float v) { return v; }
template <class Number>
inline float to_float(Number v) {
  const Shorts s = {v.bits};
  return to_floats(s, Number{})[0];
}

// n numbers, `stride` apart, into out [padded(n)], whose end is filled with `padding`. `room`: how many numbers may be
// read from p on; more than n of a row that others follow, so that its end too goes by whole vectors.
template <class Number>
inline void read_numbers(const Number* p, int64_t stride, int64_t n, int64_t room, float padding, float* out) {
  int64_t j = 0;
  if (stride == 1) {
    for (; j + kLanes <= n; j += kLanes) store(out + j, load(p + j));
    if (j < n && j + kLanes <= room) {
      store(out + j, first_lanes(load(p + j), n - j, padding));
      return;
    }
  }
  for (; j < n; ++j) out[j] = to_float(p[j * stride]);
  for (; j < padded(n); ++j) out[j] = padding;
}

// The same from element `offset` of an array of any dtype.
inline void read(const void* data, int dtype, int64_t offset, int64_t stride, int64_t n, int64_t room, float padding,
                 float* out) {
  if (dtype == kFloat32) {
    read_numbers(static_cast<const float*>(data) + offset, stride, n, room, padding, out);
  } else if (dtype == kFloat16) {
    read_numbers(static_cast<const Half*>(data) + offset, stride, n, room, padding, out);
  } else {
    read_numbers(static_cast<const BFloat*>(data) + offset, stride, n, room, padding, out);
  }
}

}  // namespace
