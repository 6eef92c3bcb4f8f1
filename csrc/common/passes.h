// Whether a selection goes by plain passes, one per pick. All backends ask here: the samplers draw other rows by plain
// passes, so that where one takes them all must.
#pragma once
#include <cstdint>

#include "ops.h"

namespace autoal {

constexpr int64_t kMostRows = 0x7fffffff;  // lists of rows hold 32 bits a row: larger pools take plain passes

// Few picks or rows are not worth more; how few is left to ops whose picks do not depend on it.
inline bool plainly(Passes passes, int64_t rows, int64_t picks, int64_t few_picks = 24, int64_t few_rows = 1024) {
  if (picks == 0 || rows > kMostRows) return true;
  return passes == Passes::kPlain || (passes == Passes::kAuto && (picks <= few_picks || rows <= few_rows));
}

}  // namespace autoal
