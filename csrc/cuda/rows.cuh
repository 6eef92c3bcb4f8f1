// Rows as groups of lanes read them: 16 bytes a lane at a time, in units as wide as the starts of all rows allow. Which
// lane gets which numbers does not depend on the unit, so a row has the same scores wherever it lies in memory.
#pragma once
#include "cuda/common.cuh"

namespace autoal::cuda {

// Numbers T, one after the other in units of kBytes, a power of two; or units are single numbers, `stride` bytes apart.
template <class T, int kBytes>
struct Row {
  using Number = T;
  static constexpr int kNumbers = 16 / sizeof(T);  // of a vector: what a lane reads at a time

  const char* start;
  int64_t stride;
  int units;

  __device__ __forceinline__ Row(const void* x, int64_t offset, int64_t stride_c, int c)
      : start(static_cast<const char*>(x) + offset * sizeof(T)),
        stride(kBytes == sizeof(T) ? stride_c * sizeof(T) : kBytes),
        units(c / (kBytes / static_cast<int>(sizeof(T)))) {}

  // The words of vector `v`; `padding` beyond the end of the row, which is the end of a unit.
  __device__ __forceinline__ void load(int v, uint32_t padding, uint32_t (&words)[4]) const {
    AUTOAL_UNROLL
    for (int u = 0; u < 16 / kBytes; ++u) {
      const int unit = v * (16 / kBytes) + u;
      put(start + unit * stride, u * kBytes, unit < units, padding, words);
    }
  }

  static __device__ __forceinline__ float number(const uint32_t (&words)[4], int q) {
    if constexpr (sizeof(T) == 4)
      return __uint_as_float(words[q]);
    else
      return to_float(T{static_cast<uint16_t>(words[q / 2] >> (q % 2 * 16))});
  }

 private:
  // A unit, or padding, at byte `at` of the words.
  static __device__ __forceinline__ void put(const char* from, int at, bool there, uint32_t padding,
                                             uint32_t (&words)[4]) {
    uint32_t* word = words + at / 4;
    if constexpr (kBytes == 16) {
      const uint4 unit = dev::load_if(there, from, uint4{padding, padding, padding, padding});
      word[0] = unit.x, word[1] = unit.y, word[2] = unit.z, word[3] = unit.w;
    } else if constexpr (kBytes == 8) {
      const uint2 unit = dev::load_if(there, from, uint2{padding, padding});
      word[0] = unit.x, word[1] = unit.y;
    } else if constexpr (kBytes == 4) {
      word[0] = dev::load_if(there, from, padding);
    } else {
      const uint32_t half = dev::load_if(there, from, static_cast<uint16_t>(padding));
      word[0] = at % 4 ? word[0] | half << 16 : half;
    }
  }
};

// kVectors vectors of a lane: vector `first`, and every width-th from there on.
template <class Row, int kVectors>
struct Part {
  uint32_t words[kVectors][4];

  __device__ __forceinline__ void load(const Row& row, int first, int width, uint32_t padding) {
    AUTOAL_UNROLL
    for (int k = 0; k < kVectors; ++k) row.load(first + k * width, padding, words[k]);
  }

  __device__ __forceinline__ void read(float (&x)[kVectors][Row::kNumbers]) const {
    AUTOAL_UNROLL
    for (int k = 0; k < kVectors; ++k) AUTOAL_UNROLL
    for (int q = 0; q < Row::kNumbers; ++q) x[k][q] = Row::number(words[k], q);
  }
};

// -inf, or 0 if probabilities are read, in every number of a word.
__device__ __forceinline__ uint32_t padding_of(float, bool probs) { return probs ? 0u : 0xff800000u; }
__device__ __forceinline__ uint32_t padding_of(Half, bool probs) { return probs ? 0u : 0xfc00fc00u; }
__device__ __forceinline__ uint32_t padding_of(BFloat, bool probs) { return probs ? 0u : 0xff80ff80u; }

// Calls f(Tag<Row<T, bytes>>) with the widest units that `places`, addresses and lengths in bytes or-ed together, are
// all multiples of.
template <class F>
void with_rows(DType dtype, uint64_t places, const F& f) {
  with_type(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (places % 16 == 0) return f(Tag<Row<T, 16>>{});
    if (places % 8 == 0) return f(Tag<Row<T, 8>>{});
    if constexpr (sizeof(T) == 2)
      if (places % 4 != 0) return f(Tag<Row<T, 2>>{});
    return f(Tag<Row<T, 4>>{});
  });
}

inline uint64_t bytes_of(DType dtype) { return dtype == DType::kFloat32 ? 4 : 2; }

// The binary logarithm of how many lanes, `most` at most, a row of c numbers gets, at `each` of them a lane.
inline int log_lanes(int64_t c, int64_t each, int most = kWarp) {
  int log = 0;
  while (1 << log < most && each << log < c) ++log;
  return log;
}

}  // namespace autoal::cuda
