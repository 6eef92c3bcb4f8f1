// Which devices there are, and why not.
#include "cuda/common.cuh"

namespace autoal::cuda {
namespace {

cudaError_t probe(int* n) {
  *n = 0;
  const cudaError_t error = cudaGetDeviceCount(n);
  if (error != cudaSuccess) {
    *n = 0;
    cudaGetLastError();  // clears it
  }
  return error;
}

}  // namespace

int device_count() {
  int n;
  probe(&n);
  return n;
}

const char* status() {
  int n;
  return cudaGetErrorString(probe(&n));
}

}  // namespace autoal::cuda
