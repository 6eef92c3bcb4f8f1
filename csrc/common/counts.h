// How many pairs of rows the CPU selections have compared, in this process, since it was last asked: benchmarks set it
// against the N k of one pass per pick.
#pragma once
#include <atomic>
#include <cstdint>

namespace autoal {

struct Counts {
  std::atomic<int64_t> alone{0};      // one distance at a time
  std::atomic<int64_t> in_panels{0};  // by products with a panel, whether they decided or only ruled out
};

inline Counts& counts() {
  static Counts c;
  return c;
}

}  // namespace autoal
