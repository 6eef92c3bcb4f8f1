// Counter-based draws: the same on every backend and for any number of threads, because a draw depends
// on (seed, counter) alone. SplitMix64 (Steele, Lea, Flood 2014) over a hashed seed.
#pragma once
#include <cstdint>

#if defined(__CUDACC__)
#define AUTOAL_HOST_DEVICE __host__ __device__
#else
#define AUTOAL_HOST_DEVICE
#endif

namespace autoal {

AUTOAL_HOST_DEVICE inline uint64_t mix64(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

// Uniform in [0, 1), 53 bits.
AUTOAL_HOST_DEVICE inline double uniform(uint64_t seed, uint64_t counter) {
  constexpr uint64_t kGolden = 0x9e3779b97f4a7c15ull;
  const uint64_t bits = mix64(mix64(seed + kGolden) + kGolden * (counter + 1));
  return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

}  // namespace autoal
