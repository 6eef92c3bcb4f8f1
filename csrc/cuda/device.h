// What the kernels and their launchers are written against. nvcc: the CUDA runtime.
// Any other compiler: host_cuda.h, which runs the same source on the CPU (tests only).
#pragma once
#if defined(__CUDACC__)
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <type_traits>
#include <utility>

// __shared__ memory: AUTOAL_SHARED(tile, float[32][33]); dynamic: dev::dynamic_shared<T>().
#define AUTOAL_SHARED(name, ...) __shared__::autoal::dev::Same<__VA_ARGS__> name

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

}  // namespace autoal::dev

__device__ __forceinline__ float __half_bits_to_float(unsigned short bits) {
  return __half2float(__ushort_as_half(bits));
}
#else
#include "cuda/host_cuda.h"
#endif
