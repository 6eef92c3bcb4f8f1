// Tensor cores: bfloat16 pairs, and the multiplication of fragments that lie across the lanes of a warp.
#include "cuda/host_cuda.h"

namespace autoal::dev {
namespace {

float bfloat(uint64_t half) {
  const uint32_t bits = static_cast<uint32_t>(half & 0xffffu) << 16;
  float v;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

uint32_t nearest_bfloat(float v) {
  uint32_t bits;
  std::memcpy(&bits, &v, sizeof bits);
  return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;  // halves to even
}

}  // namespace

uint32_t bfloat_pair(float low, float high) { return nearest_bfloat(low) | nearest_bfloat(high) << 16; }

// Sums are cut off, not rounded, after each product: the real ones are said to do no better.
void multiply_add(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  const char* name = "mma.sync";
  uint64_t near[32], far[32], other[32];  // of all lanes: columns up to 7 of a, from 8 on; b
  host::warp_exchange(name, 0xffffffffu, a[0] | uint64_t{a[1]} << 32, near);
  host::warp_exchange(name, 0xffffffffu, a[2] | uint64_t{a[3]} << 32, far);
  const unsigned lane = host::warp_exchange(name, 0xffffffffu, b[0] | uint64_t{b[1]} << 32, other);
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned row = lane / 4, below = i / 2, column = lane % 4 * 2 + i % 2;
    for (unsigned k = 0; k < 16; ++k) {
      const unsigned t = k % 8 / 2, half = 16 * (k % 2);
      const float u = bfloat((k < 8 ? near : far)[4 * row + t] >> (32 * below + half));
      const float v = bfloat(other[4 * column + t] >> (32 * (k / 8) + half));
      const double sum = double(sums[i]) + double(u) * v;
      float cut = static_cast<float>(sum);
      if (std::fabs(cut) > std::fabs(sum)) cut = std::nextafter(cut, 0.0f);
      sums[i] = cut;
    }
  }
}

}  // namespace autoal::dev
