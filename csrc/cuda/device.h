// What the kernels and their launchers are written against. nvcc: the CUDA runtime.
// Any other compiler: host_cuda.h, which runs the same source on the CPU (tests only).
#pragma once
#if defined(__CUDACC__)
#include <cooperative_groups.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>
#include <utility>

// __shared__ memory: AUTOAL_SHARED(tile, float[32][33]); dynamic: dev::dynamic_shared<T>().
#define AUTOAL_SHARED(name, ...) __shared__::autoal::dev::Same<__VA_ARGS__> name
// Before a loop whose arrays must stay in registers.
#define AUTOAL_UNROLL _Pragma("unroll")

namespace autoal::dev {

template <class T>
using Same = T;

extern __shared__ __align__(16) unsigned char dynamic_shared_bytes[];
template <class T>
__device__ __forceinline__ T* dynamic_shared() {
  return reinterpret_cast<T*>(dynamic_shared_bytes);
}

template <class... P, class... A>
cudaError_t launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, cudaStream_t stream, A&&... args) {
  cudaLaunchConfig_t c{};
  c.gridDim = grid;
  c.blockDim = block;
  c.dynamicSmemBytes = shared;
  c.stream = stream;
  return cudaLaunchKernelEx(&c, kernel, std::forward<A>(args)...);
}

// All blocks are on the device at once, or the launch fails: they may wait for each other (grid_sync).
template <class... P, class... A>
cudaError_t launch_together(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                            A&&... args) {
  cudaLaunchAttribute cooperative{};
  cooperative.id = cudaLaunchAttributeCooperative;
  cooperative.val.cooperative = 1;
  cudaLaunchConfig_t c{};
  c.gridDim = grid;
  c.blockDim = block;
  c.dynamicSmemBytes = shared;
  c.stream = stream;
  c.attrs = &cooperative;
  c.numAttrs = 1;
  return cudaLaunchKernelEx(&c, kernel, std::forward<A>(args)...);
}

// How many blocks of the kernel are on the device at once.
template <class... P>
cudaError_t resident_blocks(void (*kernel)(P...), int threads, size_t shared, int device, int* blocks) {
  int each = 0, processors = 0;
  cudaError_t error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, kernel, threads, shared);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  *blocks = each * processors;
  return error;
}

// All threads of a launch_together wait for each other, and then see what the others have written.
__device__ __forceinline__ void grid_sync() { cooperative_groups::this_grid().sync(); }

// e^v; 0 where that is below 2^-126. Two instructions; off by 2^-22 and by the rounding of v's product.
__device__ __forceinline__ float exponential(float v) {
  float e;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(e) : "f"(v * 1.44269504f));
  return e;
}

// Memory that nobody writes meanwhile at p, a multiple of the size of what is read, or `otherwise`. A predicate does
// it: the compiler would make a branch, and put off into it all that leads to p.
__device__ __forceinline__ uint4 load_if(bool there, const void* p, uint4 otherwise) {
  asm("{ .reg .pred there; setp.ne.u32 there, %5, 0; @there ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4]; }"
      : "+r"(otherwise.x), "+r"(otherwise.y), "+r"(otherwise.z), "+r"(otherwise.w)
      : "l"(p), "r"(static_cast<unsigned>(there)));
  return otherwise;
}
__device__ __forceinline__ uint2 load_if(bool there, const void* p, uint2 otherwise) {
  asm("{ .reg .pred there; setp.ne.u32 there, %3, 0; @there ld.global.nc.v2.u32 {%0, %1}, [%2]; }"
      : "+r"(otherwise.x), "+r"(otherwise.y)
      : "l"(p), "r"(static_cast<unsigned>(there)));
  return otherwise;
}
__device__ __forceinline__ uint32_t load_if(bool there, const void* p, uint32_t otherwise) {
  asm("{ .reg .pred there; setp.ne.u32 there, %2, 0; @there ld.global.nc.u32 %0, [%1]; }"
      : "+r"(otherwise)
      : "l"(p), "r"(static_cast<unsigned>(there)));
  return otherwise;
}
__device__ __forceinline__ uint16_t load_if(bool there, const void* p, uint16_t otherwise) {
  asm("{ .reg .pred there; setp.ne.u32 there, %2, 0; @there ld.global.nc.u16 %0, [%1]; }"
      : "+h"(otherwise)
      : "l"(p), "r"(static_cast<unsigned>(there)));
  return otherwise;
}

// Tensor cores of bfloat16; without them the two functions below do nothing.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
constexpr bool kTensorCores = true;
#else
constexpr bool kTensorCores = false;
#endif

// Two numbers to bfloat16, the nearest ones; the first is the low half.
__device__ __forceinline__ uint32_t bfloat_pair(float low, float high) {
  uint32_t pair = 0;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
#endif
  return pair;
}

// A warp: sums [16, 8] += a [16, 16] b [16, 8], of pairs of bfloat16 along the middle. Lane 4 g + t has of a: columns
// 2 t, 2 t + 1 of rows g and g + 8, then 2 t + 8, 2 t + 9 of both; of b: rows 2 t, 2 t + 1 and 2 t + 8, 2 t + 9 of
// column g; of the sums: columns 2 t, 2 t + 1 of row g, then of g + 8.
__device__ __forceinline__ void multiply_add(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

}  // namespace autoal::dev

__device__ __forceinline__ float __half_bits_to_float(unsigned short bits) {
  return __half2float(__ushort_as_half(bits));
}
#else
#include "cuda/host_cuda.h"
#endif
