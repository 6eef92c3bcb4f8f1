// Rows and their distances to the nearest center, all of them lowered by each new one: the plain passes of k-center.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/counts.h"
#include "common/parallel.h"
#include "cpu/isa.h"
#include "ops.h"

namespace autoal::cpu {

class Farthest {
 public:
  // distances [N]: squared, of which centers have -1.
  Farthest(const Matrix& x, const float* scale, float* distances)
      : x_(x),
        scale_(scale),
        distance_(distances),
        step_(std::max<int64_t>(1, kGrain / x.cols)),
        center_(padded(x.cols)),
        farthest_(chunks_of(x.rows, step_)) {}

  // Makes the row a center, and gives the farthest row then.
  int64_t cover(int64_t row) {
    const Isa& hot = isa();
    const int dtype = static_cast<int>(x_.dtype);
    const int64_t chunks = static_cast<int64_t>(farthest_.size());
    hot.read_row(x_.data, dtype, row, x_.cols, scale_, center_.data());
    distance_[row] = -1.0f;
    counts().alone += x_.rows;
    parallel_for(chunks, [&](int64_t chunk) {
      std::vector<float> buffer(padded(x_.cols));
      double total;
      farthest_[chunk] = hot.cover(x_.data, dtype, step_ * chunk, std::min(x_.rows, step_ * (chunk + 1)), x_.cols,
                                   scale_, center_.data(), buffer.data(), distance_, &total);
    });
    int64_t best = farthest_[0];
    for (int64_t chunk = 1; chunk < chunks; ++chunk)
      if (distance_[farthest_[chunk]] > distance_[best]) best = farthest_[chunk];
    return best;
  }

 private:
  static constexpr int64_t kGrain = 1 << 17;  // elements per chunk of a pass

  Matrix x_;
  const float* scale_;
  float* distance_;
  int64_t step_;
  std::vector<float> center_;
  std::vector<int64_t> farthest_;  // [chunks]
};

}  // namespace autoal::cpu
