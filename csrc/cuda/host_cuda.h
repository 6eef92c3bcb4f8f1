// A small stand-in for the CUDA runtime that runs kernels on the CPU, so that the same
// kernel source is executed by the tests where there is no GPU. One fiber per CUDA
// thread, one block at a time, or all blocks of a cooperative launch at once; barriers
// and warp operations are rendezvous of fibers.
// Not for production: it is slow by design and finds errors instead.
//
// host_fiber: threads as fibers. host_block: their turns and their barrier. host_warp,
// host_tensor: what a warp does together. host_cuda.cpp: launches. None of these is ever
// built with -fsanitize=thread: the thread sanitizer then sees the CUDA threads, not the
// machine that runs them.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
// no __shared__ here: AUTOAL_SHARED(tile, float[32][33])
#define AUTOAL_SHARED(name, ...)                                    \
  auto& name = ::autoal::dev::host::shared_object<__VA_ARGS__>([] { \
    static char id;                                                 \
    return static_cast<const void*>(&id);                           \
  }())

#define AUTOAL_UNROLL

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct uint3 {
  unsigned x = 0, y = 0, z = 0;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

namespace autoal::dev {

struct EmulationError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The order of the threads between two barriers, and of the blocks.
enum class Order { forward, reverse, random, eager };

namespace host {

struct Settings {
  Order order = Order::forward;
  uint64_t seed = 0;
  unsigned resident_blocks = 2;  // of a cooperative launch
  uint64_t switches = 0;         // counted, for the curious
};
Settings& settings();

void run(dim3 grid, dim3 block, size_t dynamic_shared, const std::function<void()>& body, bool together = false);

// by value: the kernel's reads of them are no memory accesses of the kernel
uint3 thread_index();
uint3 block_index();
dim3 block_dim();
dim3 grid_dim();

void* shared_memory(const void* id, size_t bytes);  // id == nullptr: the dynamic part
void block_barrier();
void grid_barrier();
void warp_barrier(uint32_t mask);
// Hands in a value, gives every lane's; returns the calling lane.
unsigned warp_exchange(const char* name, uint32_t mask, uint64_t value, uint64_t (&all)[32]);

template <class T>
T& shared_object(const void* id) {
  return *static_cast<T*>(shared_memory(id, sizeof(T)));
}

template <class T>
uint64_t pack(T v) {
  static_assert(sizeof(T) <= 8, "a warp operation takes up to 8 bytes");
  uint64_t r = 0;
  std::memcpy(&r, &v, sizeof v);
  return r;
}

template <class T, class Pick>
T shuffle(const char* name, uint32_t mask, T v, Pick pick) {
  uint64_t all[32];
  const unsigned lane = warp_exchange(name, mask, pack(v), all);
  const int from = pick(int(lane));
  if (!(mask >> from & 1))
    throw EmulationError(std::string(name) + ": reads lane " + std::to_string(from) + ", not in the mask");
  T r;
  std::memcpy(&r, &all[from], sizeof r);
  return r;
}

}  // namespace host

template <class T>
T* dynamic_shared() {
  return static_cast<T*>(host::shared_memory(nullptr, 0));
}

template <class... P, class... A>
int launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, void* /*stream*/, A&&... args) {
  host::run(grid, block, shared, [&] { kernel(P(args)...); });
  return 0;
}

template <class... P, class... A>
int launch_together(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, void* /*stream*/, A&&... args) {
  host::run(grid, block, shared, [&] { kernel(P(args)...); }, true);
  return 0;
}

template <class... P>
int resident_blocks(void (*)(P...), int /*threads*/, size_t /*shared*/, int /*device*/, int* blocks) {
  *blocks = static_cast<int>(host::settings().resident_blocks);
  return 0;
}

inline void grid_sync() { host::grid_barrier(); }

template <class T>
T load_if(bool there, const void* p, T otherwise) {
  if (!there) return otherwise;
  if (reinterpret_cast<uintptr_t>(p) % sizeof(T) != 0) throw EmulationError("load_if: misaligned address");
  return *static_cast<const T*>(p);
}

inline float exponential(float v) {
  const float e = std::exp2(v * 1.44269504f);
  return e < 0x1p-126f ? 0.0f : e;
}

constexpr bool kTensorCores = true;  // what they do; device.h says what that is
uint32_t bfloat_pair(float low, float high);
void multiply_add(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

}  // namespace autoal::dev

#define threadIdx (::autoal::dev::host::thread_index())
#define blockIdx (::autoal::dev::host::block_index())
#define blockDim (::autoal::dev::host::block_dim())
#define gridDim (::autoal::dev::host::grid_dim())
constexpr int warpSize = 32;

inline void __syncthreads() { autoal::dev::host::block_barrier(); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { autoal::dev::host::warp_barrier(mask); }
inline void __threadfence() {}
inline void __threadfence_block() {}

template <class T>
T __shfl_sync(unsigned mask, T v, int src, int width = 32) {
  return autoal::dev::host::shuffle("__shfl_sync", mask, v,
                                    [=](int l) { return (l & ~(width - 1)) | (src & (width - 1)); });
}
template <class T>
T __shfl_down_sync(unsigned mask, T v, unsigned d, int width = 32) {
  return autoal::dev::host::shuffle("__shfl_down_sync", mask, v,
                                    [=](int l) { return (l & (width - 1)) + int(d) < width ? l + int(d) : l; });
}
template <class T>
T __shfl_up_sync(unsigned mask, T v, unsigned d, int width = 32) {
  return autoal::dev::host::shuffle("__shfl_up_sync", mask, v,
                                    [=](int l) { return (l & (width - 1)) >= int(d) ? l - int(d) : l; });
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int m, int width = 32) {
  return autoal::dev::host::shuffle("__shfl_xor_sync", mask, v, [=](int l) {
    const int o = l ^ m;
    return (o & ~(width - 1)) <= (l & ~(width - 1)) ? o : l;
  });
}
inline unsigned __ballot_sync(unsigned mask, int p) {
  uint64_t all[32];
  autoal::dev::host::warp_exchange("__ballot_sync", mask, p != 0, all);
  unsigned r = 0;
  for (unsigned l = 0; l < 32; ++l)
    if (mask >> l & 1 && all[l]) r |= 1u << l;
  return r;
}
inline int __any_sync(unsigned mask, int p) { return __ballot_sync(mask, p) != 0; }
inline int __all_sync(unsigned mask, int p) { return __ballot_sync(mask, p) == mask; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __float_as_uint(float f) {
  unsigned u;
  std::memcpy(&u, &f, 4);
  return u;
}
inline float __uint_as_float(unsigned u) {
  float f;
  std::memcpy(&f, &u, 4);
  return f;
}
inline long long __double_as_longlong(double d) {
  long long i;
  std::memcpy(&i, &d, 8);
  return i;
}
template <class T>
T __ldg(const T* p) {
  return *p;
}
inline float __fmul_rn(float a, float b) { return a * b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __half_bits_to_float(uint16_t bits) {
  _Float16 h;
  std::memcpy(&h, &bits, 2);
  return static_cast<float>(h);
}

// Atomics are real ones, so that the thread sanitizer knows them for what they are.
namespace autoal::dev::host {
template <class T, class F>
T rmw(T* p, F f) {
  T old;
  __atomic_load(p, &old, __ATOMIC_RELAXED);
  for (;;) {
    T want = f(old);
    if (__atomic_compare_exchange(p, &old, &want, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return old;
  }
}
}  // namespace autoal::dev::host
template <class T>
T atomicAdd(T* p, T v) {
  return autoal::dev::host::rmw(p, [=](T o) { return T(o + v); });
}
template <class T>
T atomicExch(T* p, T v) {
  return autoal::dev::host::rmw(p, [=](T) { return v; });
}
template <class T>
T atomicMax(T* p, T v) {
  return autoal::dev::host::rmw(p, [=](T o) { return o < v ? v : o; });
}
template <class T>
T atomicMin(T* p, T v) {
  return autoal::dev::host::rmw(p, [=](T o) { return v < o ? v : o; });
}

// ---- the few runtime calls that the launchers use
using cudaError_t = int;
using cudaStream_t = void*;
constexpr cudaError_t cudaSuccess = 0;
inline const char* cudaGetErrorString(cudaError_t) { return "emulated"; }
inline cudaError_t cudaGetLastError() { return 0; }
inline cudaError_t cudaGetDeviceCount(int* n) {
  *n = 1;
  return 0;
}
inline cudaError_t cudaGetDevice(int* d) {
  *d = 0;
  return 0;
}
inline cudaError_t cudaSetDevice(int) { return 0; }
inline cudaError_t cudaMemsetAsync(void* p, int v, size_t n, cudaStream_t) {
  std::memset(p, v, n);
  return 0;
}
