// kcenter_greedy: farthest-first traversal. For few picks, one pass over the rows per center; for many, blocked lazy:
// a bound that is not the largest need not be up to date. Both make the same picks. docs/kcenter_greedy.md has the
// proof.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "common/counts.h"
#include "common/parallel.h"
#include "common/passes.h"
#include "cpu/euclidean.h"
#include "cpu/farthest.h"
#include "cpu/lazy_bounds.h"
#include "ops.h"

namespace autoal::cpu {
namespace {

constexpr int64_t kScan = 1 << 17;   // rows looked at by one thread at a time
constexpr int64_t kInnermost = 256;  // rows whose distances are kept up to date pick by pick
constexpr int64_t kNarrowing = 4;    // each set of candidates is this share of the one around it

// So few picks go by plain passes. Where nothing can be ruled out (copies, lattices, points on a line) laziness costs
// as much per row as passes of the narrowest rows for some 90 picks, or of wide ones for 25.
constexpr int64_t few_picks(int64_t columns) { return 24 + 2560 / (32 + columns); }

void plain_passes(const Matrix& x, const float* scale, const int64_t* centers, int64_t n_centers,
                  const int64_t* excluded, int64_t n_excluded, int64_t first, int64_t k, const Selection& out,
                  const Tick& tick) {
  std::vector<float> distance(x.rows, std::numeric_limits<float>::infinity());
  for (int64_t j = 0; j < n_excluded; ++j) distance[excluded[j]] = -1.0f;
  Farthest rows(x, scale, distance.data());
  int64_t next = first;
  for (int64_t j = 0; j < n_centers; ++j) {
    const int64_t farthest_now = rows.cover(centers[j]);
    if (first < 0) next = farthest_now;
    if (tick) tick(0);
  }
  *out.filled = 0;
  for (int64_t j = 0; j < k; ++j) {
    if (distance[next] == 0.0f && !(j == 0 && first >= 0)) ++*out.filled;  // a forced pick fills nothing
    out.picks[j] = next;
    next = rows.cover(next);
    out.radius[j] = std::sqrt(std::max(0.0f, distance[next]));  // -1 where no row is left
    if (tick) tick(j + 1);
  }
}

// The order of the picks: larger bounds first, then lower rows.
struct Key {
  float bound;
  int64_t row;
  bool operator>(const Key& other) const { return bound > other.bound || (bound == other.bound && row < other.row); }
};
constexpr Key kNothing{-1.0f, 0};  // centers and excluded rows have the bound -1

class LazyTraversal {
 public:
  LazyTraversal(const Matrix& x, const float* scale, int64_t n_centers, int64_t k, const Selection& out,
                const Tick& tick)
      : metric_(x, scale, n_centers + k), lazy_(metric_, tick), n_(x.rows), k_(k), out_(out), tick_(tick) {}

  void run(const int64_t* centers, int64_t n_centers, const int64_t* excluded, int64_t n_excluded, int64_t first) {
    metric_.add(n_centers ? centers[0] : first);
    lazy_.cover_all(0);
    for (int64_t j = 1; j < n_centers; ++j) metric_.add(centers[j]);
    for (int64_t j = 0; j < n_centers; ++j) lazy_.set(centers[j], -1.0f);
    for (int64_t j = 0; j < n_excluded; ++j) lazy_.set(excluded[j], -1.0f);
    *out_.filled = 0;
    if (first >= 0) {
      if (n_centers) metric_.add(first);
      lazy_.set(first, -1.0f);
      out_.picks[lazy_.picked++] = first;
    }

    std::vector<int64_t> all(n_);
    for (int64_t i = 0; i < n_; ++i) all[i] = i;
    pick_among(all, kNothing);
    if (!finished_) out_.radius[k_ - 1] = 0.0f;  // no row is left
  }

 private:
  // Picks from `rows` (ascending) while the best of them is above `floor`, which no other row is above.
  void pick_among(const std::vector<int64_t>& rows, Key floor) {
    const int64_t n = static_cast<int64_t>(rows.size());
    const int64_t size = std::min(n, std::max(n / kNarrowing, kInnermost));
    while (!finished_) {
      const Key number = key_number(rows, size), cut = number > floor ? number : floor;
      const std::vector<int64_t> candidates = above(cut, rows);
      if (candidates.empty()) return;
      const float below = std::nextafter(cut.bound, -2.0f);  // rows of the very bound of the cut may be above it
      std::vector<Request> requests;
      for (int64_t row : candidates)
        if (lazy_.unseen(row) > 0) requests.push_back({row, below});
      lazy_.refresh(requests);
      const std::vector<int64_t> best = above(cut, candidates);
      if (static_cast<int64_t>(best.size()) > kInnermost)
        pick_among(best, cut);
      else if (!best.empty())
        pick_among_few(best, cut);
    }
  }

  // The same for few rows, all up to date: they are kept so.
  void pick_among_few(const std::vector<int64_t>& rows, Key floor) {
    const int64_t n = static_cast<int64_t>(rows.size()), stride = metric_.stride();
    points_.resize(n * stride);
    std::vector<float> bound(n);
    int64_t best = 0;
    for (int64_t i = 0; i < n; ++i) {
      metric_.read(rows[i], points_.data() + i * stride);
      bound[i] = lazy_.bound[rows[i]];
      if (bound[i] > bound[best]) best = i;
    }
    while (Key{bound[best], rows[best]} > floor) {
      if (take(rows[best], bound[best])) return;
      bound[best] = -1.0f;
      counts().alone += n;
      for (int64_t i = best = 0; i < n; ++i) {
        bound[i] = std::min(bound[i], metric_.between(points_.data() + i * stride, metric_.count() - 1));
        if (bound[i] > bound[best]) best = i;
      }
    }
    for (int64_t i = 0; i < n; ++i) lazy_.set(rows[i], bound[i]);
  }

  // Picks the row, whose distance is the covering radius now. Gives whether all is done.
  bool take(int64_t row, float bound) {
    if (lazy_.picked > 0) out_.radius[lazy_.picked - 1] = std::sqrt(bound);
    if (lazy_.picked == k_) return finished_ = true;
    if (bound == 0.0f) return fill(row);
    out_.picks[lazy_.picked++] = row;
    metric_.add(row);
    if (tick_) tick_(lazy_.picked);
    return false;
  }

  // Only copies of centers are left: the free rows from `row` on, in order.
  bool fill(int64_t row) {
    std::vector<bool> taken(n_, false);
    for (int64_t j = 0; j < lazy_.picked; ++j) taken[out_.picks[j]] = true;
    *out_.filled = k_ - lazy_.picked;
    for (; lazy_.picked < k_; ++row)
      if (!taken[row] && lazy_.bound[row] >= 0.0f) {
        out_.picks[lazy_.picked] = row;
        out_.radius[lazy_.picked++] = 0.0f;
      }
    return finished_ = true;
  }

  // Those of the rows that are above the cut, in their order.
  std::vector<int64_t> above(Key cut, const std::vector<int64_t>& rows) const {
    std::vector<std::vector<int64_t>> parts(chunks_of(static_cast<int64_t>(rows.size()), kScan));
    scan(rows, [&](int64_t chunk, int64_t row) {
      if (Key{lazy_.bound[row], row} > cut) parts[chunk].push_back(row);
    });
    for (size_t chunk = 1; chunk < parts.size(); ++chunk)
      parts[0].insert(parts[0].end(), parts[chunk].begin(), parts[chunk].end());
    return std::move(parts[0]);
  }

  // The key that `size` of the rows are above; kNothing if there are not more.
  Key key_number(const std::vector<int64_t>& rows, int64_t size) const {
    if (size >= static_cast<int64_t>(rows.size())) return kNothing;
    constexpr int kShift = 15;  // sign, exponent and eight bits of the mantissa: of positive floats the order is theirs
    constexpr size_t kBins = (0x7f800000u >> kShift) + 2;
    const auto bin = [&](int64_t row) -> size_t {
      const float b = lazy_.bound[row];
      if (b < 0.0f) return 0;
      uint32_t bits;
      std::memcpy(&bits, &b, sizeof bits);
      return (bits >> kShift) + 1;
    };
    std::vector<std::vector<int32_t>> counts(chunks_of(static_cast<int64_t>(rows.size()), kScan));
    for (std::vector<int32_t>& part : counts) part.assign(kBins, 0);
    scan(rows, [&](int64_t chunk, int64_t row) { ++counts[chunk][bin(row)]; });
    const auto in_bin = [&](size_t b) {
      int64_t n = 0;
      for (const std::vector<int32_t>& part : counts) n += part[b];
      return n;
    };
    int64_t above_bin = 0;
    size_t b = kBins;
    for (int64_t here; above_bin + (here = in_bin(--b)) <= size;) above_bin += here;
    if (b == 0) return kNothing;

    std::vector<Key> keys;
    keys.reserve(in_bin(b));
    bool alike = true;  // a plateau: the keys are in order
    for (int64_t row : rows)
      if (bin(row) == b) {
        keys.push_back({lazy_.bound[row], row});
        alike = alike && keys.back().bound == keys[0].bound;
      }
    if (alike) return keys[size - above_bin];
    std::nth_element(keys.begin(), keys.begin() + (size - above_bin), keys.end(), std::greater<>());
    return keys[size - above_bin];
  }

  // Calls f(chunk, row) for the rows, chunks on all threads.
  template <class F>
  static void scan(const std::vector<int64_t>& rows, const F& f) {
    const int64_t n = static_cast<int64_t>(rows.size());
    parallel_for(chunks_of(n, kScan), [&](int64_t chunk) {
      for (int64_t i = chunk * kScan; i < std::min(n, (chunk + 1) * kScan); ++i) f(chunk, rows[i]);
    });
  }

  Euclidean metric_;
  LazyBounds<Euclidean> lazy_;
  int64_t n_, k_;
  const Selection& out_;
  const Tick& tick_;
  bool finished_ = false;
  std::vector<float> points_;
};

}  // namespace

void kcenter_greedy(const Matrix& x, const float* scale, const int64_t* centers, int64_t n_centers,
                    const int64_t* excluded, int64_t n_excluded, int64_t first, int64_t k, Passes passes,
                    const Selection& out, const Tick& tick) {
  if (k == 0 || plainly(passes, x.rows, k + n_centers, few_picks(x.cols)))
    plain_passes(x, scale, centers, n_centers, excluded, n_excluded, first, k, out, tick);
  else
    LazyTraversal(x, scale, n_centers, k, out, tick).run(centers, n_centers, excluded, n_excluded, first);
}

}  // namespace autoal::cpu
