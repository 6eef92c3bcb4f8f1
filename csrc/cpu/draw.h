// Weights that are drawn from, and the state that the D^2 samplers share: chunk sums in double, one draw, one fill.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/counts.h"
#include "common/parallel.h"
#include "common/random.h"
#include "ops.h"

namespace autoal::cpu {

// D^2 weights [n] of rows in chunks of kDrawChunk; a picked row has weight 0 and is not picked again, nor is one that
// is left out.
class Weights {
 public:
  explicit Weights(int64_t n) : value(n), n_(n), sums_(chunks_of(n, kDrawChunk)), picked_(n, false) {}

  std::vector<float> value;  // [n]

  // Calls update(begin, end) -> sum of value[begin, end) for each chunk.
  template <class Update>
  void update(const Update& update) {
    counts().alone += n_;
    parallel_for(static_cast<int64_t>(sums_.size()),
                 [&](int64_t k) { sums_[k] = update(k * kDrawChunk, std::min(n_, (k + 1) * kDrawChunk)); });
  }

  // The row that draw number `counter` hits, or -1 if all weights are 0.
  int64_t draw(uint64_t seed, uint64_t counter) const {
    double total = 0.0;
    for (double s : sums_) total += s;
    if (!(total > 0.0)) return -1;
    double rest = uniform(seed, counter) * total;
    int64_t last = -1;  // the last row with weight: where rounding lets `rest` outrun the sums
    for (int64_t k = 0; k < static_cast<int64_t>(sums_.size()); ++k) {
      const bool here = rest < sums_[k];
      if (!here) rest -= sums_[k];
      if (!here && k + 1 < static_cast<int64_t>(sums_.size())) continue;
      for (int64_t i = k * kDrawChunk; i < std::min(n_, (k + 1) * kDrawChunk); ++i) {
        if (!(value[i] > 0.0f)) continue;
        last = i;
        if (rest < value[i]) return i;
        rest -= value[i];
      }
      if (last >= 0) return last;
    }
    for (int64_t i = n_ - 1; last < 0; --i)
      if (value[i] > 0.0f) last = i;
    return last;
  }

  void take(int64_t row) { picked_[row] = true; }

  // As if these rows were picked before all others.
  void leave_out(const int64_t* rows, int64_t n) {
    for (int64_t j = 0; j < n; ++j) {
      value[rows[j]] = 0.0f;
      take(rows[j]);
    }
  }

  int64_t lowest_free() {
    while (picked_[lowest_free_]) ++lowest_free_;
    return lowest_free_;
  }

 private:
  int64_t n_;
  std::vector<double> sums_;
  std::vector<bool> picked_;
  int64_t lowest_free_ = 0;
};

// Picks k rows: `pick(j)` gives the j-th or -1 if no weight is left; `cover(row)` lowers the weights by a pick.
template <class Pick, class Cover>
void sample(Weights& weights, int64_t k, const Selection& out, const Tick& tick, const Pick& pick, const Cover& cover) {
  *out.filled = 0;
  for (int64_t j = 0; j < k; ++j) {
    int64_t row = *out.filled ? -1 : pick(j);
    if (row < 0) {
      row = weights.lowest_free();
      ++*out.filled;
    }
    out.picks[j] = row;
    weights.take(row);
    if (!*out.filled && j + 1 < k) cover(row);
    if (tick) tick(j + 1);
  }
}

}  // namespace autoal::cpu
