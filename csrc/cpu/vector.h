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

constexpr int64_t kFewClasses = 64, kFewMCClasses = 256;  // as in isa.h

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

// v itself. Compilers see no product behind it that they could fuse into the next sum, unrounded: the same product
// would then be another number elsewhere.
inline Floats rounded(Floats v) {
#if defined(__x86_64__)
  __asm__("" : "+v"(v));
#elif defined(__aarch64__)
  __asm__("" : "+w"(v));
#else
  __asm__("" : "+m"(v));
#endif
  return v;
}

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

// Bit l is set where lane l of a mask is true.
inline uint32_t lane_bits(Ints mask) {
#if defined(__AVX512DQ__)
  return __builtin_ia32_cvtd2mask512(mask);
#elif defined(__AVX2__)
  return static_cast<uint32_t>(__builtin_ia32_movmskps256(reinterpret_cast<Floats>(mask)));
#elif defined(__SSE__)
  return static_cast<uint32_t>(__builtin_ia32_movmskps(reinterpret_cast<Floats>(mask)));
#else
  uint32_t bits = 0;
  for (int l = 0; l < kLanes; ++l) bits |= static_cast<uint32_t>(mask[l] & 1) << l;
  return bits;
#endif
}

inline bool any_lane(Ints mask) { return lane_bits(mask) != 0; }

inline float sum(Floats v) {
  for (int distance = kLanes / 2; distance > 0; distance /= 2) v += swapped(v, distance);
  return v[0];
}

inline Floats bits_to_floats(Words w) {
  Floats v;
  __builtin_memcpy(&v, &w, sizeof v);
  return v;
}

inline float largest(Floats v) {
  for (int distance = kLanes / 2; distance > 0; distance /= 2) v = maximum(v, swapped(v, distance));
  return v[0];
}

inline Words floats_to_bits(Floats v) {
  Words w;
  __builtin_memcpy(&w, &v, sizeof w);
  return w;
}

constexpr float kLowest = -87.33f;  // its exponential is about the smallest normal number

// e^x for x in [kLowest, 88], to 2.5 ulp near 0 and to 2 + |x| / 4 ulp farther off (2 + |x| without fused products),
// because x log2(e) is rounded: probabilities are off by no more for it, since their x are near 0 or they are small. Of
// NaN anything, so that callers must find NaN by a product with x. As 2^n 2^r with |r| <= 1/2: the minimax polynomial
// of five steps with 2^0 = 1 is as near as the rest of the arithmetic.
inline Floats normal_exponential(Floats x) {
  constexpr float kLog2E = 1.44269504088896341f;
  const Floats magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const Floats shifted = x * kLog2E + magic;
  const Floats r = x * kLog2E - (shifted - magic);
  Floats p = splat(1.326472033e-3f);
  p = p * r + 9.671512991e-3f;
  p = p * r + 5.550733954e-2f;
  p = p * r + 2.402224243e-1f;
  p = p * r + 6.931470037e-1f;
  p = p * r + 1.0f;
  return bits_to_floats(floats_to_bits(p) + (floats_to_bits(shifted) << 23));  // the low bits of `shifted` hold n
}

// e^x for x <= 88; 0 below kLowest.
inline Floats exponential(Floats x) {
  const Ints tiny = x < splat(kLowest);
  return select(tiny, Floats{}, normal_exponential(select(tiny, splat(kLowest), x)));
}

// ln x for normal x > 0, to 2 ulp; something finite for all other x. As n ln 2 + ln m with m in [sqrt(1/2), sqrt(2)),
// the minimax polynomial being one of ln(1 + r) / r, so that it is exact to the last bits near 1 too.
inline Floats logarithm(Floats x) {
  constexpr uint32_t kSqrtHalf = 0x3f3504f3u;  // the bits of sqrt(1/2)
  const Words w = floats_to_bits(x);
  const Ints n = __builtin_convertvector(w - kSqrtHalf, Ints) >> 23;
  const Floats r = bits_to_floats(w - (__builtin_convertvector(n, Words) << 23)) - 1.0f;
  Floats p = splat(8.734846115e-2f);
  p = p * r - 1.430752426e-1f;
  p = p * r + 1.491797417e-1f;
  p = p * r - 1.657050848e-1f;
  p = p * r + 1.996207237e-1f;
  p = p * r - 2.500175536e-1f;
  p = p * r + 3.333395123e-1f;
  p = p * r - 4.999999106e-1f;
  p = p * r + 1.0f;
  return __builtin_convertvector(n, Floats) * 0.693147180559945309f + p * r;
}

// p ln p; 0 (of either sign) where p is 0, and less than 1e-35 where it is no normal number.
inline Floats p_log_p(Floats p) { return p * logarithm(p); }

enum { kFloat32 = 0, kFloat16 = 1, kBFloat16 = 2 };

struct Half {
  uint16_t bits;
};
struct BFloat {
  uint16_t bits;
};

#if defined(__F16C__)
// Subnormal numbers come out right whatever the thread's floating point environment is. An instruction by name: no
// generic conversion of GCC's leads to it, and its intrinsics bring in standard headers.
inline Floats to_floats(Shorts s, Half) {
  Floats v;
  __asm__("vcvtph2ps %1, %0" : "=v"(v) : "vm"(s));
  return v;
}
#else
// Adding 112 moves the exponent's bias from 15 to 127; Inf, NaN and subnormal numbers are put right. No subnormal float
// comes up: the caller's thread may flush them to 0.
inline Floats to_floats(Shorts s, Half) {
  const Words w = __builtin_convertvector(s, Words), exponent = w & 0x7c00u, sign = (w & 0x8000u) << 16;
  const Words normal = ((w & 0x7fffu) << 13) + (112u << 23);
  const Floats small = __builtin_convertvector(__builtin_convertvector(w & 0x3ffu, Ints), Floats) * 0x1p-24f;
  const Words bits = exponent == 0x7c00u ? normal | 0x7f800000u : exponent == 0u ? floats_to_bits(small) : normal;
  return bits_to_floats(bits | sign);
}
#endif
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

// f with the numbers of an array of any dtype.
template <class F>
inline auto with_numbers(const void* data, int dtype, F f) {
  if (dtype == kFloat32) return f(static_cast<const float*>(data));
  if (dtype == kFloat16) return f(static_cast<const Half*>(data));
  return f(static_cast<const BFloat*>(data));
}

// read_numbers from element `offset` of an array of any dtype.
inline void read(const void* data, int dtype, int64_t offset, int64_t stride, int64_t n, int64_t room, float padding,
                 float* out) {
  with_numbers(data, dtype, [&](const auto* p) { read_numbers(p + offset, stride, n, room, padding, out); });
}

// Fetches what comes a page after the n numbers at p: rows are read once, in order, and hardware stops at pages.
template <class Number>
inline void prefetch_ahead(const Number* p, int64_t n) {
  const char* bytes = reinterpret_cast<const char*>(p) + 4096;
  for (int64_t byte = 0; byte < n * static_cast<int64_t>(sizeof(Number)); byte += 64) __builtin_prefetch(bytes + byte);
}

}  // namespace
