// kcenter_greedy: farthest-first traversal, one pass over the rows per center.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "common/parallel.h"
#include "cpu/isa.h"
#include "ops.h"

namespace autoal::cpu {
namespace {

constexpr int64_t kGrain = 1 << 17;  // elements per chunk

}  // namespace

void kcenter_greedy(const Matrix& x, const float* scale, const int64_t* centers, int64_t n_centers, int64_t first,
                    int64_t k, const Selection& out, const Tick& tick) {
  const Isa& hot = isa();
  const int dtype = static_cast<int>(x.dtype);
  const int64_t step = std::max<int64_t>(1, kGrain / x.cols), chunks = chunks_of(x.rows, step);
  std::vector<float> distance(x.rows, std::numeric_limits<float>::infinity()), center(padded(x.cols));
  std::vector<int64_t> farthest(chunks);

  // Lowers all distances by the row; the row itself leaves the race with -1. Gives the farthest row.
  const auto cover = [&](int64_t row) {
    hot.read_row(x.data, dtype, row, x.cols, scale, center.data());
    distance[row] = -1.0f;
    parallel_for(chunks, [&](int64_t chunk) {
      std::vector<float> buffer(padded(x.cols));
      double total;
      farthest[chunk] = hot.cover(x.data, dtype, step * chunk, std::min(x.rows, step * (chunk + 1)), x.cols, scale,
                                  center.data(), buffer.data(), distance.data(), &total);
    });
    int64_t best = farthest[0];
    for (int64_t chunk = 1; chunk < chunks; ++chunk)
      if (distance[farthest[chunk]] > distance[best]) best = farthest[chunk];
    return best;
  };

  int64_t next = first;
  for (int64_t j = 0; j < n_centers; ++j) {
    const int64_t farthest_now = cover(centers[j]);
    if (first < 0) next = farthest_now;
    if (tick) tick(0);
  }
  *out.filled = 0;
  for (int64_t j = 0; j < k; ++j) {
    if (distance[next] == 0.0f && !(j == 0 && first >= 0)) ++*out.filled;  // a forced pick fills nothing
    out.picks[j] = next;
    next = cover(next);
    out.radius[j] = std::sqrt(std::max(0.0f, distance[next]));  // -1 where every row is a center
    if (tick) tick(j + 1);
  }
}

}  // namespace autoal::cpu
