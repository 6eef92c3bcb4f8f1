// What the kernels and their launchers are written against. nvcc: the CUDA runtime.
// Any other compiler: host_cuda.h, which runs the same source on the CPU (tests only).
#pragma once
#if defined(__CUDACC__)
#include <cooperative_groups.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

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

}  // namespace autoal::dev

__device__ __forceinline__ float __half_bits_to_float(unsigned short bits) {
  return __half2float(__ushort_as_half(bits));
}
#else
#include "cuda/host_cuda.h"
#endif
