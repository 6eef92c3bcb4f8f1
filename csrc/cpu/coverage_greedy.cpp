// coverage_greedy: weighted facility location, lazily. A gain only shrinks while picks are made, so one computed
// earlier is an upper bound, and a gain up to date that no bound is above is the largest. docs/coverage_greedy.md has
// the proof.
#include <algorithm>
#include <cmath>
#include <limits>
#include <queue>
#include <vector>

#include "common/counts.h"
#include "common/parallel.h"
#include "cpu/isa.h"
#include "ops.h"

namespace autoal::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kBlock = 64;                   // rows that meet a panel together: they stay in the second-level cache
constexpr int64_t kChunk = 16;                   // panels that a row meets before its sum is put down
constexpr int64_t kTickWork = int64_t{1} << 31;  // products between two ticks, some tens of milliseconds

// Rows side by side, `width` to a panel; those not there yet have an infinite norm, and with it k = 0.
class Panels {
 public:
  Panels(int64_t most, int64_t d) : hot_(isa()), width_(hot_.panel_width()), d_(d) {
    numbers_.reserve((most + width_ - 1) / width_ * width_ * d);
    norms_.reserve((most + width_ - 1) / width_ * width_);
  }

  int64_t size() const { return size_; }
  int64_t count() const { return (size_ + width_ - 1) / width_; }
  const float* numbers(int64_t panel) const { return numbers_.data() + panel * width_ * d_; }
  const float* norms(int64_t panel) const { return norms_.data() + panel * width_; }

  void add(const float* row, float norm) {
    const int64_t panel = size_ / width_, lane = size_ % width_;
    if (lane == 0) {
      numbers_.resize((panel + 1) * width_ * d_, 0.0f);
      norms_.resize((panel + 1) * width_, kInfinity);
    }
    hot_.panel_set(numbers_.data() + panel * width_ * d_, lane, row, d_);
    norms_[size_++] = norm;
  }

 private:
  const Isa& hot_;
  int64_t width_, d_, size_ = 0;
  std::vector<float> numbers_, norms_;  // [panels, D, width], [panels, width]
};

class Coverage {
 public:
  Coverage(const Matrix& x, const float* scale, const Targets& targets, const float* gain, const float* covered,
           float gamma, int64_t k, const Tick& tick)
      : hot_(isa()),
        x_(x),
        scale_(scale),
        gain_(gain),
        own_(targets.own),
        gamma_(gamma),
        width_(hot_.panel_width()),
        stride_(padded(x.cols)),
        tick_(tick),
        targets_(targets.count, x.cols),
        picks_(own_ ? k : 0, x.cols),
        norms_(norms()) {
    std::vector<float> row(stride_);
    if (own_) column_.assign(x.rows, -1);
    for (int64_t t = 0; t < targets.count; ++t) {
      if (targets.weights[t] == 0.0f) continue;
      const int64_t i = targets.rows[t];
      if (own_) column_[i] = static_cast<int32_t>(targets_.size());
      hot_.read_row(x.data, static_cast<int>(x.dtype), i, x.cols, scale, row.data());
      targets_.add(row.data(), norms_[i]);
      weights_.push_back(targets.weights[t]);
      covered_.push_back(covered[i]);
      limits_.push_back(limit(covered[i]));
      if (t % 4096 == 0) tick_now();
    }
    const int64_t lanes = targets_.count() * width_;
    weights_.resize(lanes, 0.0f);
    covered_.resize(lanes, 1.0f);
    limits_.resize(lanes, 0.0f);
    if (own_) {
      covered_rows_.assign(covered, covered + x.rows);
      seen_.assign(x.rows, 0);
    }
  }

  int64_t picked = 0;  // what the tick is told

  // Gains [n] of rows as they are now.
  void gains(const int64_t* rows, int64_t n, double* out) {
    const int64_t blocks = (n + kBlock - 1) / kBlock, chunks = chunks_of(targets_.count(), kChunk);
    const int64_t work = kBlock * kChunk * width_ * x_.cols;  // of a task: a block of rows and a chunk of panels
    const int64_t at_once = std::max<int64_t>(num_threads(), kTickWork / work);
    sums_.assign(n * chunks, 0.0);
    counts().in_panels += n * targets_.size();
    for (int64_t begin = 0; begin < blocks * chunks; begin += at_once) {
      parallel_for(std::min(at_once, blocks * chunks - begin), [&](int64_t task) {
        const int64_t block = (begin + task) / chunks, chunk = (begin + task) % chunks, from = block * kBlock;
        add_gains(rows + from, std::min(kBlock, n - from), chunk, sums_.data() + from * chunks, chunks);
      });
      tick_now();
    }
    for (int64_t r = 0; r < n; ++r) {
      double total = own_ ? own_[rows[r]] * (1.0 - covered_rows_[rows[r]]) : 0.0;
      for (int64_t chunk = 0; chunk < chunks; ++chunk) total += sums_[r * chunks + chunk];
      out[r] = gain_[rows[r]] * total;
    }
  }

  // Makes the row a pick.
  void cover(int64_t row) {
    std::vector<float> point(stride_);
    hot_.read_row(x_.data, static_cast<int>(x_.dtype), row, x_.cols, scale_, point.data());
    if (own_) picks_.add(point.data(), norms_[row]);
    counts().in_panels += targets_.size();
    parallel_for(chunks_of(targets_.count(), kChunk), [&](int64_t chunk) {
      std::vector<float> k(width_);
      for (int64_t panel = chunk * kChunk; panel < std::min(targets_.count(), (chunk + 1) * kChunk); ++panel) {
        kernel(targets_, panel, point.data(), 1, &norms_[row], k.data());
        for (int64_t lane = 0; lane < width_; ++lane) {
          const int64_t t = panel * width_ + lane;
          if (k[lane] <= covered_[t]) continue;
          covered_[t] = k[lane];
          limits_[t] = limit(k[lane]);
        }
      }
    });
    ++picked;
    tick_now();
  }

  void tick_now() const {
    if (tick_) tick_(picked);
  }

 private:
  // A float exponential of anything below is below m: it is off by a few units in the last place, and x is rounded.
  static float limit(float m) { return std::log(m) - 1e-4f; }

  // |x_i|^2 of all rows, summed as products with a panel are.
  std::vector<float> norms() const {
    std::vector<float> norms(x_.rows);
    const int64_t step = 16 * width_;
    const int64_t at_once = std::max<int64_t>(num_threads(), kTickWork / (step * width_ * x_.cols));
    for (int64_t begin = 0; begin < x_.rows; begin += at_once * step) {
      parallel_for(std::min(at_once, chunks_of(x_.rows - begin, step)), [&](int64_t chunk) {
        std::vector<float> rows(width_ * stride_), panel(width_ * x_.cols), products(width_ * width_);
        const int64_t from = begin + chunk * step, to = std::min(x_.rows, from + step);
        for (int64_t i = from; i < to; i += width_) {
          const int64_t n = std::min(width_, to - i);
          for (int64_t r = 0; r < n; ++r) {
            hot_.read_row(x_.data, static_cast<int>(x_.dtype), i + r, x_.cols, scale_, rows.data() + r * stride_);
            hot_.panel_set(panel.data(), r, rows.data() + r * stride_, x_.cols);
          }
          hot_.panel_products(rows.data(), n, stride_, panel.data(), x_.cols, products.data());
          for (int64_t r = 0; r < n; ++r) norms[i + r] = products[r * width_ + r];
        }
      });
      tick_now();
    }
    return norms;
  }

  // k [n, width] of n rows, `stride_` apart, with a panel.
  void kernel(const Panels& panels, int64_t panel, const float* rows, int64_t n, const float* norms, float* k) const {
    hot_.panel_products(rows, n, stride_, panels.numbers(panel), x_.cols, k);
    hot_.panel_kernel(k, n, norms, panels.norms(panel), gamma_);
  }

  // sums[r * chunks + chunk] = what n rows gain by one chunk of targets. With the first chunk goes how far a row itself
  // is covered.
  void add_gains(const int64_t* rows, int64_t n, int64_t chunk, double* sums, int64_t chunks) {
    std::vector<float> points(n * stride_), norms(n), products(n * width_);
    std::vector<double> totals(n, 0.0);
    for (int64_t r = 0; r < n; ++r) {
      hot_.read_row(x_.data, static_cast<int>(x_.dtype), rows[r], x_.cols, scale_, points.data() + r * stride_);
      norms[r] = norms_[rows[r]];
    }
    for (int64_t panel = chunk * kChunk; panel < std::min(targets_.count(), (chunk + 1) * kChunk); ++panel) {
      hot_.panel_products(points.data(), n, stride_, targets_.numbers(panel), x_.cols, products.data());
      if (own_)
        for (int64_t r = 0; r < n; ++r) {
          const int64_t lane = column_[rows[r]] - panel * width_;
          if (lane >= 0 && lane < width_) products[r * width_ + lane] = -kInfinity;  // as far away as can be: k = 0
        }
      const int64_t t = panel * width_;
      hot_.panel_gains(products.data(), n, norms.data(), targets_.norms(panel), weights_.data() + t,
                       covered_.data() + t, limits_.data() + t, gamma_, totals.data());
    }
    for (int64_t r = 0; r < n; ++r) sums[r * chunks + chunk] = totals[r];
    if (own_ && chunk == 0) cover_rows(rows, n, points.data(), norms.data(), products.data());
  }

  void cover_rows(const int64_t* rows, int64_t n, const float* points, const float* norms, float* k) {
    int64_t first = picks_.size();
    for (int64_t r = 0; r < n; ++r) first = std::min<int64_t>(first, seen_[rows[r]]);
    counts().in_panels += n * (picks_.size() - first / width_ * width_);
    for (int64_t panel = first / width_; panel < picks_.count(); ++panel) {
      kernel(picks_, panel, points, n, norms, k);
      for (int64_t r = 0; r < n; ++r)
        covered_rows_[rows[r]] =
            std::max(covered_rows_[rows[r]], *std::max_element(k + r * width_, k + (r + 1) * width_));
    }
    for (int64_t r = 0; r < n; ++r) seen_[rows[r]] = static_cast<int32_t>(picks_.size());
  }

  const Isa& hot_;
  Matrix x_;
  const float *scale_, *gain_, *own_;
  float gamma_;
  int64_t width_, stride_;
  const Tick& tick_;
  Panels targets_, picks_;
  std::vector<float> norms_;                       // [N] |x|^2
  std::vector<float> weights_, covered_, limits_;  // of the targets; padded to whole panels
  std::vector<int32_t> column_;                    // [N] which target a row is, or -1; where rows have own worth
  std::vector<float> covered_rows_;                // [N] m of a row by the picks it has met, where rows have own worth
  std::vector<int32_t> seen_;                      // [N] how many picks that is
  std::vector<double> sums_;
};

// The order of the picks: larger gains first, then lower rows.
struct Bound {
  double gain;
  int64_t row;
  bool operator<(const Bound& other) const { return gain < other.gain || (gain == other.gain && row > other.row); }
};

class LazyGreedy {
 public:
  LazyGreedy(Coverage& coverage, bool plain) : coverage_(coverage), plain_(plain) {}

  void run(const std::vector<int64_t>& rows, int64_t n, int64_t k, const Selection& out) {
    known_.assign(n, -1);
    renew(rows);
    for (int64_t step = 0; step < k; ++step) {
      const Bound best = next();
      out.picks[step] = best.row;
      out.gain[step] = static_cast<float>(best.gain);
      if (best.gain > 0.0)
        coverage_.cover(best.row);
      else
        ++*out.filled;
    }
  }

 private:
  static constexpr int64_t kSlab = 1 << 12;  // rows whose sums are held together
  static constexpr int64_t kFirst = 16;  // gains that are computed together; twice as many each time none of them wins

  // Takes the largest gain off the heap, once it is up to date.
  Bound next() {
    std::vector<int64_t> stale;
    for (int64_t most = plain_ ? std::numeric_limits<int64_t>::max() : kFirst;; most *= plain_ ? 1 : 2) {
      if (up_to_date(heap_.top())) {
        const Bound best = heap_.top();
        heap_.pop();
        return best;
      }
      stale.clear();
      std::vector<Bound> fresh;
      while (!heap_.empty() && static_cast<int64_t>(stale.size()) < most) {
        if (up_to_date(heap_.top())) {
          if (!plain_) break;
          fresh.push_back(heap_.top());
        } else {
          stale.push_back(heap_.top().row);
        }
        heap_.pop();
      }
      for (const Bound& bound : fresh) heap_.push(bound);
      renew(stale);
    }
  }

  bool up_to_date(const Bound& bound) const { return bound.gain == 0.0 || known_[bound.row] == coverage_.picked; }

  void renew(const std::vector<int64_t>& rows) {
    const int64_t n = static_cast<int64_t>(rows.size());
    for (int64_t begin = 0; begin < n; begin += kSlab) {
      const int64_t some = std::min(kSlab, n - begin);
      gains_.resize(some);
      coverage_.gains(rows.data() + begin, some, gains_.data());
      for (int64_t r = 0; r < some; ++r) {
        known_[rows[begin + r]] = static_cast<int32_t>(coverage_.picked);
        heap_.push({gains_[r], rows[begin + r]});
      }
    }
  }

  Coverage& coverage_;
  bool plain_;
  std::priority_queue<Bound> heap_;
  std::vector<int32_t> known_;  // [N] how many picks a bound knows of
  std::vector<double> gains_;
};

}  // namespace

void coverage_greedy(const Matrix& x, const float* scale, const Targets& targets, const float* gain,
                     const float* covered, const int64_t* excluded, int64_t n_excluded, float gamma, int64_t k,
                     Passes passes, const Selection& out, const Tick& tick) {
  *out.filled = 0;
  if (k == 0) return;
  std::vector<bool> barred(x.rows, false);
  for (int64_t j = 0; j < n_excluded; ++j) barred[excluded[j]] = true;
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < x.rows; ++i)
    if (!barred[i]) rows.push_back(i);
  Coverage coverage(x, scale, targets, gain, covered, gamma, k, tick);
  LazyGreedy(coverage, passes == Passes::kPlain).run(rows, x.rows, k, out);
}

}  // namespace autoal::cpu
