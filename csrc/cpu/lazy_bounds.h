// Upper bounds on the distance of each row to its nearest center, brought up to date only for the rows that somebody
// asks about. A distance to a growing set of centers only falls, so a stale one is an upper bound.
//
// A row that many centers are new to meets them in panels: products from a register tile, less a rigorous bound of
// their error, tell for nearly all pairs that the center is no nearer. What is left is computed as in a plain pass, so
// bounds that are up to date equal those of plain passes to the last bit.
//
// A Metric (euclidean.h, gradient.h) has the rows, the centers in panels of `width()`, and the arithmetic:
//   Points       rows of a block, in slots: join(slot, row), move(from, to), the products of the last panel met
//   add(row)     makes a row a center;  rows(), count()
//   prefetch(row), cover(begin, end, center, bound, points)   lowers the bounds of rows, straight from memory
//   meet(points, slots, panel, bounds, hits)                  hits[slot]: the lanes that might lower bounds[slot]
//   might_lower(points, slot, center, bound), distance(points, slot, center)
#pragma once
#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <vector>

#include "common/counts.h"
#include "common/parallel.h"
#include "ops.h"

namespace autoal::cpu {

// A row to be brought up to date, but for when its bound falls to `floor` or below: then it may be left as it is, and
// what its bound is depends on how the centers were met.
struct Request {
  int64_t row;
  float floor;
};

template <class Metric>
class LazyBounds {
 public:
  // Calls tick(picked) while it works for long. What rows have met is kept by the caller, each [N].
  LazyBounds(Metric& metric, float* bounds, int32_t* seen, const Tick& tick)
      : bound(bounds), metric_(metric), tick_(tick), seen_(seen) {}

  // Rows that have met no center.
  LazyBounds(Metric& metric, const Tick& tick)
      : bound(nullptr),
        metric_(metric),
        tick_(tick),
        own_bound_(metric.rows(), std::numeric_limits<float>::infinity()),
        own_seen_(metric.rows(), 0) {
    bound = own_bound_.data();
    seen_ = own_seen_.data();
  }

  float* bound;        // [N]
  int64_t picked = 0;  // what the tick is told

  // How many centers the row has not met.
  int64_t unseen(int64_t row) const { return metric_.count() - seen_[row]; }

  // The bound of a row that is known to hold for all centers.
  void set(int64_t row, float value) {
    bound[row] = value;
    seen_[row] = static_cast<int32_t>(metric_.count());
  }

  // Lowers all bounds by a center, the first that they may not have met.
  void cover_all(int64_t center) {
    counts().alone += metric_.rows();
    const int64_t grain = std::max<int64_t>(1, kPassGrain / metric_.numbers_per_row());
    for_slabs(metric_.rows(), std::max<int64_t>(kSlab / metric_.numbers_per_row(), 4096),
              [&](int64_t begin, int64_t end) {
                parallel_for(chunks_of(end - begin, grain), [&](int64_t chunk) {
                  const int64_t from = begin + chunk * grain, to = std::min(end, from + grain);
                  std::unique_ptr<Scratch> scratch = take_scratch();
                  metric_.cover(from, to, center, bound, scratch->points);
                  give_back(std::move(scratch));
                  std::fill(seen_ + from, seen_ + to, static_cast<int32_t>(center + 1));
                });
              });
  }

  // Brings rows, all different, up to date on all threads. Reorders the requests: rows that have met equally many
  // centers go together, because they meet the same panels.
  void refresh(std::vector<Request>& requests) {
    put_in_order(requests);
    const int64_t n = static_cast<int64_t>(requests.size());
    const int64_t most = std::max<int64_t>(16, kBlock / metric_.numbers_per_row());
    const int64_t fair = (n + 4 * num_threads() - 1) / (4 * num_threads());
    const int64_t step = std::clamp<int64_t>(fair, std::min<int64_t>(16, most), most);
    const int64_t slab = kSlab * 16 / ((metric_.numbers_per_row() + 48) * std::max<int64_t>(1, metric_.count()));
    for_slabs(n, std::max(slab, step * num_threads()), [&](int64_t begin, int64_t end) {
      parallel_for(chunks_of(end - begin, step), [&](int64_t chunk) {
        const int64_t from = begin + chunk * step;
        std::unique_ptr<Scratch> scratch = take_scratch();
        refresh_block(requests.data() + from, std::min(step, end - from), *scratch);
        give_back(std::move(scratch));
      });
    });
  }

  // All rows, up to date. All have met the first `known` centers.
  void refresh_all(int64_t known) {
    if ((metric_.count() - known) * (metric_.numbers_per_row() + 16) <= kRequest) {
      for (int64_t center = known; center < metric_.count(); ++center) cover_all(center);
      return;
    }
    constexpr int64_t kRows = 1 << 16;  // at a time
    std::vector<Request> some;
    for (int64_t begin = 0; begin < metric_.rows(); begin += kRows) {
      some.clear();
      for (int64_t i = begin; i < std::min(metric_.rows(), begin + kRows); ++i)
        if (bound[i] > 0.0f && unseen(i) > 0) some.push_back({i, 0.0f});
      refresh(some);
    }
  }

 private:
  static constexpr int64_t kBlock = 1 << 17;      // numbers of the rows of a block: they stay in the second-level cache
  static constexpr int64_t kPassGrain = 1 << 17;  // numbers per chunk of a pass
  static constexpr int64_t kSlab = 1 << 27;       // numbers read between two ticks, some tens of milliseconds
  static constexpr int64_t kFew = 4;              // this many new centers are met one by one
  static constexpr int64_t kAhead = 4096;         // numbers that are fetched before they are needed
  static constexpr int64_t kRequest = 1 << 9;     // numbers that passes read in the time of one request

  struct Scratch {
    std::vector<Request> late, active;  // rows with many new centers; those of them that meet the panels now
    std::vector<float> bounds;          // of the active rows
    std::vector<uint64_t> hits;
    typename Metric::Points points;
  };

  // By centers met, then by row. Requests that come by row, as those of long scans do, are counted into place.
  void put_in_order(std::vector<Request>& requests) {
    const auto by_row = [](const Request& a, const Request& b) { return a.row < b.row; };
    if (static_cast<int64_t>(requests.size()) < metric_.count() ||
        !std::is_sorted(requests.begin(), requests.end(), by_row)) {
      std::sort(requests.begin(), requests.end(), [&](const Request& a, const Request& b) {
        return seen_[a.row] < seen_[b.row] || (seen_[a.row] == seen_[b.row] && a.row < b.row);
      });
      return;
    }
    std::vector<int64_t> place(metric_.count() + 2, 0);
    for (const Request& request : requests) ++place[seen_[request.row] + 1];
    for (size_t seen = 1; seen < place.size(); ++seen) place[seen] += place[seen - 1];
    sorted_.resize(requests.size());
    for (const Request& request : requests) sorted_[place[seen_[request.row]]++] = request;
    requests.swap(sorted_);
  }

  template <class Slab>
  void for_slabs(int64_t n, int64_t size, const Slab& slab) {
    for (int64_t begin = 0; begin < n; begin += size) {
      slab(begin, std::min(n, begin + size));
      if (tick_) tick_(picked);
    }
  }

  std::unique_ptr<Scratch> take_scratch() {
    std::lock_guard<std::mutex> lock(scratch_mutex_);
    if (scratch_.empty()) return std::make_unique<Scratch>();
    std::unique_ptr<Scratch> scratch = std::move(scratch_.back());
    scratch_.pop_back();
    return scratch;
  }

  void give_back(std::unique_ptr<Scratch> scratch) {
    std::lock_guard<std::mutex> lock(scratch_mutex_);
    scratch_.push_back(std::move(scratch));
  }

  void refresh_block(const Request* requests, int64_t n, Scratch& scratch) {
    auto& [late, active, bounds, hits, points] = scratch;
    const int64_t count = metric_.count(), width = metric_.width();
    const int64_t ahead = std::clamp<int64_t>(kAhead / metric_.numbers_per_row(), 4, 16);  // rows
    int64_t alone = 0, in_panels = 0;
    late.clear();
    points.reserve(metric_, n);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t row = requests[i].row;
      const float floor = std::max(requests[i].floor, 0.0f);  // nothing lowers 0
      if (i + ahead < n && unseen(requests[i + ahead].row) <= kFew) metric_.prefetch(requests[i + ahead].row);
      if (bound[row] <= floor) continue;
      if (unseen(row) > kFew) {
        late.push_back({row, floor});
        continue;
      }
      for (; seen_[row] < count && bound[row] > floor; ++alone)
        metric_.cover(row, row + 1, seen_[row]++, bound, points);
    }
    counts().alone += alone;
    if (late.empty()) return;
    alone = 0;

    const int64_t capacity = static_cast<int64_t>(late.size());
    active.resize(capacity);
    bounds.resize(capacity);
    hits.resize(capacity);
    int64_t n_active = 0, joined = 0;
    for (int64_t panel = seen_[late[0].row] / width; panel * width < count; ++panel) {
      const int64_t first = panel * width, last = std::min(count, first + width);
      for (; joined < capacity && seen_[late[joined].row] < last; ++joined, ++n_active) {
        if (joined + ahead < capacity) metric_.prefetch(late[joined + ahead].row);
        active[n_active] = late[joined];
        points.join(metric_, n_active, late[joined].row);
      }
      if (n_active == 0) continue;
      for (int64_t slot = 0; slot < n_active; ++slot) bounds[slot] = bound[active[slot].row];
      metric_.meet(points, n_active, panel, bounds.data(), hits.data());
      in_panels += n_active * (last - first);
      for (int64_t slot = n_active - 1; slot >= 0; --slot) {
        const auto [row, floor] = active[slot];
        uint64_t left = hits[slot];
        if (seen_[row] > first) left &= ~uint64_t{0} << (seen_[row] - first);
        for (; left; left &= left - 1) {
          const int64_t center = first + __builtin_ctzll(left);
          if (!metric_.might_lower(points, slot, center, bound[row])) continue;
          bound[row] = std::min(bound[row], metric_.distance(points, slot, center));
          ++alone;
        }
        seen_[row] = static_cast<int32_t>(last);
        if (bound[row] > floor) continue;
        if (slot != --n_active) {  // the last active row takes its place
          points.move(n_active, slot);
          active[slot] = active[n_active];
        }
      }
    }
    counts().alone += alone;
    counts().in_panels += in_panels;
  }

  Metric& metric_;
  const Tick& tick_;
  int32_t* seen_ = nullptr;  // [N] the row has met the first so many centers
  std::vector<float> own_bound_;
  std::vector<int32_t> own_seen_;
  std::vector<Request> sorted_;  // room for putting requests in order
  std::mutex scratch_mutex_;
  std::vector<std::unique_ptr<Scratch>> scratch_;  // those not in use
};

}  // namespace autoal::cpu
