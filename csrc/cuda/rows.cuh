// Rows as groups of lanes read them: 16 bytes a lane at a time, in units as wide as the starts of all rows allow. Which
// lane gets which numbers does not depend on the unit, so a row has the same scores wherever it lies in memory.
#pragma once
#include "cuda/common.cuh"

namespace autoal::cuda {

// Numbers T, one after the other or, if units are single numbers, `stride` bytes apart. Units have kBytes, a power of
// two.
template <class T, int kBytes>
struct Row {
  using Number = T;
  static constexpr int kNumbers = 16 / sizeof(T);  // of a vector: what a lane reads at a time
  static constexpr bool kSingle = kBytes == sizeof(T);

  const char* start;
  int64_t stride;
  int numbers;

  __device__ __forceinline__ Row(const void* x, int64_t offset, int64_t stride_c, int c)
      : start(static_cast<const char*>(x) + offset * sizeof(T)), stride(stride_c * sizeof(T)), numbers(c) {}

  // The words of vector `v`; `padding` beyond the end of the row, which is the end of a unit.
  __device__ __forceinline__ void load(int v, uint32_t padding, uint32_t (&words)[4]) const {
    AUTOAL_UNROLL
    for (int w = 0; w < 4; ++w) words[w] = padding;
    AUTOAL_UNROLL
    for (int u = 0; u < 16; u += kBytes)
      if (v * kNumbers + u / static_cast<int>(sizeof(T)) < numbers)
        put(start + (kSingle ? (v * kNumbers + u / sizeof(T)) * stride : int64_t{v} * 16 + u), u, words);
  }

  static __device__ __forceinline__ float number(const uint32_t (&words)[4], int q) {
    if constexpr (sizeof(T) == 4)
      return __uint_as_float(words[q]);
    else
      return to_float(T{static_cast<uint16_t>(words[q / 2] >> (q % 2 * 16))});
  }

 private:
  static __device__ __forceinline__ void put(const char* from, int u, uint32_t (&words)[4]) {
    if constexpr (kBytes == 16) {
      const uint4 unit = __ldg(reinterpret_cast<const uint4*>(from));
      words[0] = unit.x, words[1] = unit.y, words[2] = unit.z, words[3] = unit.w;
    } else if constexpr (kBytes == 8) {
      const uint2 unit = __ldg(reinterpret_cast<const uint2*>(from));
      words[u / 4] = unit.x, words[u / 4 + 1] = unit.y;
    } else if constexpr (kBytes == 4) {
      words[u / 4] = __ldg(reinterpret_cast<const uint32_t*>(from));
    } else {
      const uint32_t unit = __ldg(reinterpret_cast<const uint16_t*>(from));
      words[u / 4] = u % 4 ? (words[u / 4] & 0xffffu) | unit << 16 : (words[u / 4] & 0xffff0000u) | unit;
    }
  }
};

// kVectors vectors of each lane: of `width` lanes side by side, those of `first` on have vector first, first + width
// ...
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

// Lanes of a warp for a row of c numbers, at `each` of them a lane.
inline int lanes_for(int64_t c, int64_t each) {
  int width = 1;
  while (width < kWarp && width * each < c) width *= 2;
  return width;
}

}  // namespace autoal::cuda
