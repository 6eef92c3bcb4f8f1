// coverage_greedy: weighted facility location, lazily. A gain only shrinks while picks are made, so one computed
// earlier is an upper bound, and a gain up to date that no bound is above is the largest. docs/coverage_greedy.md has
// the proof.
#include <algorithm>
#include <limits>
#include <vector>

#include "cpu/coverage.h"
#include "ops.h"

namespace autoal::cpu {
namespace {

// The order of the picks: larger gains first, then lower rows.
struct Bound {
  float gain;
  int64_t row;
  bool operator<(const Bound& other) const { return gain < other.gain || (gain == other.gain && row > other.row); }
};

class LazyGreedy {
 public:
  LazyGreedy(Coverage& coverage, bool plain) : coverage_(coverage), plain_(plain) {}

  void run(const std::vector<int64_t>& rows, int64_t n, int64_t k, const Selection& out) {
    known_.assign(n, -1);
    heap_.reserve(rows.size());
    renew(rows);
    for (int64_t step = 0; step < k; ++step) {
      const Bound best = next(k - step);
      out.picks[step] = best.row;
      out.gain[step] = best.gain;
      if (best.gain > 0.0f) {
        coverage_.cover(best.row);
        if (step + 1 < k && coverage_.refine()) renew_all();
      } else {
        ++*out.filled;
      }
    }
  }

 private:
  static constexpr int64_t kFirst = 16;  // gains that are computed together; twice as many each time none of them wins
  static constexpr int64_t kAll = std::numeric_limits<int64_t>::max();

  // Takes the largest gain off the heap, once it is up to date.
  Bound next(int64_t picks_left) {
    std::vector<int64_t> stale;
    int64_t dense = 0;    // gains that took products
    float known = -1.0f;  // the largest of those computed here
    for (int64_t most = plain_ ? kAll : kFirst; !up_to_date(heap_.front()); most *= most < kAll ? 2 : 1) {
      const auto needed = [&] { return unlisted_above(known); };  // a look at all bounds
      if (dense > 0 && most < kAll && coverage_.better_at_once(dense, needed, picks_left)) most = kAll;
      take_stale(most, stale);
      for (const int64_t row : stale) dense += !coverage_.listed(row);
      known = std::max(known, renew(stale));
    }
    const Bound best = heap_.front();
    pop();
    return best;
  }

  // Takes the largest bounds that are not up to date off the heap: those above all that are, or truly all.
  void take_stale(int64_t most, std::vector<int64_t>& rows) {
    std::vector<Bound> fresh;
    rows.clear();
    while (!heap_.empty() && static_cast<int64_t>(rows.size()) < most) {
      const Bound bound = heap_.front();
      if (!up_to_date(bound))
        rows.push_back(bound.row);
      else if (most == kAll)
        fresh.push_back(bound);
      else
        break;
      pop();
    }
    for (const Bound& bound : fresh) push(bound);
  }

  int64_t unlisted_above(float gain) const {
    return std::count_if(heap_.begin(), heap_.end(), [&](const Bound& bound) {
      return bound.gain > gain && !up_to_date(bound) && !coverage_.listed(bound.row);
    });
  }

  bool up_to_date(const Bound& bound) const { return bound.gain == 0.0f || known_[bound.row] == coverage_.picked(); }

  // Returns the largest of the gains.
  float renew(const std::vector<int64_t>& rows) {
    float largest = -1.0f;
    for (auto from = rows.begin(); from != rows.end();) {
      const auto to = from + std::min<int64_t>(coverage_.most_together(), rows.end() - from);
      const std::vector<int64_t> some(from, to);
      gains_.resize(some.size());
      coverage_.gains(some, gains_.data());
      for (size_t r = 0; r < some.size(); ++r) {
        known_[some[r]] = static_cast<int32_t>(coverage_.picked());
        push({gains_[r], some[r]});
        largest = std::max(largest, gains_[r]);
      }
      from = to;
    }
    return largest;
  }

  void renew_all() {
    std::vector<int64_t> rows;
    for (const Bound& bound : heap_) rows.push_back(bound.row);
    std::sort(rows.begin(), rows.end());
    heap_.clear();
    renew(rows);
  }

  void push(const Bound& bound) {
    heap_.push_back(bound);
    std::push_heap(heap_.begin(), heap_.end());
  }
  void pop() {
    std::pop_heap(heap_.begin(), heap_.end());
    heap_.pop_back();
  }

  Coverage& coverage_;
  bool plain_;
  std::vector<Bound> heap_;
  std::vector<int32_t> known_;  // [N] how many picks a bound knows of
  std::vector<float> gains_;
};

}  // namespace

void coverage_greedy(const Matrix& x, const float* scale, const Targets& targets, const float* gain,
                     const float* covered, const int64_t* excluded, int64_t n_excluded, float gamma, int64_t k,
                     Passes passes, int64_t memory, const Selection& out, const Tick& tick) {
  *out.filled = 0;
  if (k == 0) return;
  std::vector<bool> barred(x.rows, false);
  for (int64_t j = 0; j < n_excluded; ++j) barred[excluded[j]] = true;
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < x.rows; ++i)
    if (!barred[i]) rows.push_back(i);
  const bool plain = passes == Passes::kPlain;
  Coverage coverage(x, scale, targets, gain, covered, gamma, k, plain, memory, tick);
  LazyGreedy(coverage, plain).run(rows, x.rows, k, out);
}

}  // namespace autoal::cpu
