// What a rank does by itself in a selection over many (autoal/distributed): bounds of its own rows, which the caller
// keeps, and picks among candidates that all ranks know. Distances are those of the selections here, to the last bit.
#include <algorithm>
#include <vector>

#include "cpu/euclidean.h"
#include "cpu/farthest.h"
#include "cpu/lazy_bounds.h"
#include "ops.h"

namespace autoal::cpu {
namespace {

constexpr int64_t kTogether = 1 << 16;  // rows brought up to date between two looks at the list of them

}  // namespace

void refresh_bounds(const Matrix& x, const float* scale, const float* centers, int64_t n_centers, const int64_t* rows,
                    int64_t n_rows, const float* floors, float* bounds, int32_t* seen, const Tick& tick) {
  Euclidean metric(x, scale, n_centers);
  for (int64_t j = 0; j < n_centers; ++j) metric.add_point(centers + j * x.cols);
  LazyBounds<Euclidean> lazy(metric, bounds, seen, tick);
  std::vector<Request> requests;
  for (int64_t begin = 0; begin < n_rows; begin += kTogether) {
    requests.clear();
    for (int64_t i = begin; i < std::min(n_rows, begin + kTogether); ++i) requests.push_back({rows[i], floors[i]});
    lazy.refresh(requests);
  }
}

int64_t farthest_among(const Matrix& x, float* bounds, float floor, int64_t before, int64_t k, int64_t* picks,
                       float* distances, const Tick& tick) {
  int64_t picked = 0, best = std::max_element(bounds, bounds + x.rows) - bounds;
  Farthest farthest(x, nullptr, bounds);
  while (picked < k && bounds[best] > 0.0f && (bounds[best] > floor || (bounds[best] == floor && best < before))) {
    picks[picked] = best;
    distances[picked++] = bounds[best];
    best = farthest.cover(best);
    if (tick) tick(picked);
  }
  return picked;
}

}  // namespace autoal::cpu
