// What all kernels share: numbers of any dtype as floats, reductions in a fixed order, keys for argmax, launches that
// are checked.
#pragma once
#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "cuda/device.h"
#include "ops.h"

namespace autoal::cuda {

constexpr int kThreads = 256;
constexpr int kWarp = 32;
constexpr int kWarps = kThreads / kWarp;
constexpr unsigned kAll = 0xffffffffu;
constexpr int64_t kMaxBlocks = 132 * 16;  // of grid-stride kernels: some waves of the largest chip

// ---------------------------------------------------------------- numbers
struct Half {
  uint16_t bits;
};
struct BFloat {
  uint16_t bits;
};
__device__ __forceinline__ float to_float(float v) { return v; }
__device__ __forceinline__ float to_float(Half v) { return __half_bits_to_float(v.bits); }
__device__ __forceinline__ float to_float(BFloat v) { return __uint_as_float(static_cast<unsigned>(v.bits) << 16); }

template <class T>
struct Tag {
  using type = T;
};

// Calls f(Tag<float>), f(Tag<Half>) or f(Tag<BFloat>).
template <class F>
void with_type(DType dtype, const F& f) {
  if (dtype == DType::kFloat32) return f(Tag<float>{});
  if (dtype == DType::kFloat16) return f(Tag<Half>{});
  return f(Tag<BFloat>{});
}

// ---------------------------------------------------------------- reductions
__device__ __forceinline__ float warp_sum(float v) {
  for (int o = kWarp / 2; o > 0; o >>= 1) v += __shfl_xor_sync(kAll, v, o);
  return v;
}

// Lane l gets the sum over the lanes of v[l], added up in the order of warp_sum: the bits are the same, in a fifth of
// the shuffles. v is used up. (A template, not a loop over kOffset: v must stay in registers.)
template <int kOffset = kWarp / 2>
__device__ __forceinline__ float warp_sums(float (&v)[kWarp]) {
  const bool upper = threadIdx.x & kOffset;
  AUTOAL_UNROLL
  for (int i = 0; i < kOffset; ++i) {
    const float kept = upper ? v[i + kOffset] : v[i], given = upper ? v[i] : v[i + kOffset];
    v[i] = kept + __shfl_xor_sync(kAll, given, kOffset);
  }
  if constexpr (kOffset > 1) warp_sums<kOffset / 2>(v);
  return v[0];
}

// A value >= 0, whose bits order like an integer, above; the complement of its row below: the largest key is the
// largest value, and of equal ones the lowest row. 0 is no key. Rows are below 2^32 - 1.
using Key = unsigned long long;
__device__ __forceinline__ Key make_key(float value, int64_t row) {
  return static_cast<Key>(__float_as_uint(value)) << 32 | (0xffffffffu - static_cast<unsigned>(row));
}
__device__ __forceinline__ int64_t row_of(Key key) { return 0xffffffffu - static_cast<unsigned>(key); }
__device__ __forceinline__ float value_of(Key key) { return __uint_as_float(static_cast<unsigned>(key >> 32)); }

// Every thread of a block of kThreads calls it and gets the largest key.
__device__ __forceinline__ Key block_max(Key v) {
  AUTOAL_SHARED(part, Key[kWarps]);
  for (int o = kWarp / 2; o > 0; o >>= 1) {
    const Key w = __shfl_xor_sync(kAll, v, o);
    v = v < w ? w : v;
  }
  if (threadIdx.x % kWarp == 0) part[threadIdx.x / kWarp] = v;
  __syncthreads();
  v = part[0];
  for (int i = 1; i < kWarps; ++i) v = v < part[i] ? part[i] : v;
  __syncthreads();
  return v;
}

// The same for a sum, over warps in order.
template <class T>
__device__ __forceinline__ T block_sum(T v) {
  AUTOAL_SHARED(part, T[kWarps]);
  for (int o = kWarp / 2; o > 0; o >>= 1) v += __shfl_xor_sync(kAll, v, o);
  if (threadIdx.x % kWarp == 0) part[threadIdx.x / kWarp] = v;
  __syncthreads();
  v = part[0];
  for (int i = 1; i < kWarps; ++i) v += part[i];
  __syncthreads();
  return v;
}

// ---------------------------------------------------------------- rows, one warp each
// |x_i s_i - x_c s_c|^2; all lanes get it. Products round before they are subtracted: copies are at distance 0 exactly.
// Every rounding is spelled out: Euclidean::exact_pairs (euclidean.cuh) takes the same steps and gets the same bits.
template <class T>
__device__ __forceinline__ float warp_squared_distance(const T* a, float scale_a, const T* b, float scale_b,
                                                       int64_t d) {
  float s = 0.0f;
  for (int64_t j = threadIdx.x % kWarp; j < d; j += kWarp) {
    const float diff = __fmul_rn(to_float(a[j]), scale_a) - __fmul_rn(to_float(b[j]), scale_b);
    s = __fmaf_rn(diff, diff, s);
  }
  return warp_sum(s);
}

// Gradients::exact_pairs (gradient.cuh) takes the same steps.
template <class T>
__device__ __forceinline__ float warp_dot(const T* a, const T* b, int64_t d) {
  float s = 0.0f;
  for (int64_t j = threadIdx.x % kWarp; j < d; j += kWarp) s = __fmaf_rn(to_float(a[j]), to_float(b[j]), s);
  return warp_sum(s);
}

// ================================================================ host
inline void check(cudaError_t error, const char* op, const char* file, int line) {
  if (error != cudaSuccess)
    throw std::runtime_error(std::string("CUDA: ") + op + " (" + file + ":" + std::to_string(line) +
                             "): " + cudaGetErrorString(error));
}
#define AUTOAL_CHECK(call, op) ::autoal::cuda::check((call), op, __FILE__, __LINE__)

// The given device is current while this lives; torch's choice is put back.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device) {
    AUTOAL_CHECK(cudaGetDevice(&previous_), "cudaGetDevice");
    if (previous_ != device) AUTOAL_CHECK(cudaSetDevice(device), "cudaSetDevice");
  }
  ~DeviceGuard() { cudaSetDevice(previous_); }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int previous_ = 0;
};

// Launches blocks of kThreads and reports what the launch itself says.
template <class Kernel, class... Args>
void launch(const char* op, const Stream& stream, Kernel kernel, int64_t blocks, Args... args) {
  const dim3 grid(static_cast<unsigned>(std::max<int64_t>(blocks, 1)));
  AUTOAL_CHECK(dev::launch(kernel, grid, dim3(kThreads), 0, static_cast<cudaStream_t>(stream.handle), args...), op);
  AUTOAL_CHECK(cudaGetLastError(), op);
}

// The same for as many blocks of kThreads as are on the device at once, `most` at the most: the kernel may call
// dev::grid_sync(). What its blocks write for each other must not be read as constant (__ldg, const __restrict__).
template <class Kernel, class... Args>
void launch_together(const char* op, const Stream& stream, Kernel kernel, int64_t most, size_t shared, Args... args) {
  int blocks = 0;
  AUTOAL_CHECK(dev::resident_blocks(kernel, kThreads, shared, stream.device, &blocks), op);
  const dim3 grid(static_cast<unsigned>(std::clamp<int64_t>(most, 1, std::max(blocks, 1))));
  AUTOAL_CHECK(
      dev::launch_together(kernel, grid, dim3(kThreads), shared, static_cast<cudaStream_t>(stream.handle), args...),
      op);
  AUTOAL_CHECK(cudaGetLastError(), op);
}

// Blocks for n rows at one warp each, or fewer with a grid-stride loop.
inline int64_t warp_blocks(int64_t n) { return std::min((n + kWarps - 1) / kWarps, kMaxBlocks); }

// Cuts a workspace into arrays that start at 256-byte boundaries; with a null base it only counts.
class Carver {
 public:
  explicit Carver(void* base) : base_(static_cast<char*>(base)) {}
  template <class T>
  T* take(int64_t n) {
    char* p = base_ + used_;
    used_ += (static_cast<size_t>(n) * sizeof(T) + 255) / 256 * 256;
    return reinterpret_cast<T*>(p);
  }
  size_t used() const { return used_; }

 private:
  char* base_;
  size_t used_ = 0;
};

}  // namespace autoal::cuda
