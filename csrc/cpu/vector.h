// Vectors of 16 floats for the hot files, which are compiled once per instruction set (AUTOAL_ISA): the compiler maps
// them to 1, 2 or 4 registers. Everything here is static and uses no standard header, so that no copy made for AVX-512
// can become the one that the linker keeps for everyone.
#pragma once
#include <stddef.h>
#include <stdint.h>

#define AUTOAL_CONCAT2(a, b) a##_##b
#define AUTOAL_CONCAT(a, b) AUTOAL_CONCAT2(a, b)
#define AUTOAL_HOT(name) AUTOAL_CONCAT(name, AUTOAL_ISA)

namespace {

constexpr int kLanes = 16;
typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef _Float16 Halves __attribute__((vector_size(32)));
typedef uint16_t Shorts __attribute__((vector_size(32)));

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

// A fixed tree, so that a sum does not depend on the instruction set.
inline float sum(Floats v) {
  float s[kLanes];
  store(s, v);
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) s[i] += s[i + width];
  return s[0];
}

inline Floats bits_to_floats(Words w) {
  Floats v;
  __builtin_memcpy(&v, &w, sizeof v);
  return v;
}

// e^x for x <= 88, to 2 ulp; 0 below -87.3; NaN stays NaN. Range reduction by ln 2, polynomial by Cephes' coefficients.
inline Floats exponential(Floats x) {
  const Ints tiny = x < splat(-87.33f);
  const Floats clamped = select(tiny, splat(-87.33f), x);
  const Floats magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const Floats shifted = clamped * 1.44269504088896341f + magic;
  const Floats n = shifted - magic;
  const Floats r = (clamped - n * 0.693359375f) - n * -2.12194440e-4f;
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
  return select(tiny, Floats{}, p * scale);
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

inline float half_at(const void* data, int64_t i) { return static_cast<float>(static_cast<const _Float16*>(data)[i]); }
inline float bfloat_at(const void* data, int64_t i) {
  const uint32_t w = static_cast<uint32_t>(static_cast<const uint16_t*>(data)[i]) << 16;
  float v;
  __builtin_memcpy(&v, &w, sizeof v);
  return v;
}

// n numbers of any dtype from element `offset` on, `stride` apart, into floats.
inline void to_floats(const void* data, int dtype, int64_t offset, int64_t stride, int64_t n, float* out) {
  int64_t j = 0;
  if (dtype == kFloat32) {
    const float* p = static_cast<const float*>(data) + offset;
    if (stride == 1) {
      for (; j < n; ++j) out[j] = p[j];
    } else {
      for (; j < n; ++j) out[j] = p[j * stride];
    }
  } else if (dtype == kFloat16) {
    if (stride == 1)
      for (; j + kLanes <= n; j += kLanes) {
        Halves h;
        __builtin_memcpy(&h, static_cast<const _Float16*>(data) + offset + j, sizeof h);
        store(out + j, __builtin_convertvector(h, Floats));
      }
    for (; j < n; ++j) out[j] = half_at(data, offset + j * stride);
  } else {
    if (stride == 1)
      for (; j + kLanes <= n; j += kLanes) {
        Shorts s;
        __builtin_memcpy(&s, static_cast<const uint16_t*>(data) + offset + j, sizeof s);
        store(out + j, bits_to_floats(__builtin_convertvector(s, Words) << 16));
      }
    for (; j < n; ++j) out[j] = bfloat_at(data, offset + j * stride);
  }
}

}  // namespace
