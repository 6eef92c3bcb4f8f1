#include "cpu/coverage.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "common/counts.h"
#include "common/parallel.h"

namespace autoal::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kBlock = 64;                   // rows that meet a panel together: they stay in the second-level cache
constexpr int64_t kChunk = 16;                   // panels that a block meets in a task
constexpr int64_t kTickWork = int64_t{1} << 31;  // products between two ticks, some tens of milliseconds
constexpr int64_t kGrain = 8;                    // lists that a thread goes through in a task
constexpr int64_t kProbe = 16;                   // rows that tell how long lists are before many are computed
constexpr double kMostListed = 0.25;             // of the targets: longer lists are not worth their memory
constexpr int64_t kDead = 4;                     // 1 / part of a list that is of no use before it is shrunk
constexpr int64_t kHesitation = 64;              // 1 / part of the targets' gains that are computed before all are

uint64_t bits_of(double v) {
  uint64_t bits;
  std::memcpy(&bits, &v, sizeof bits);
  return bits;
}

// A float exponential of anything below is below m: it is off by a few units in the last place, and x is rounded.
float limit(float m) { return std::log(m) - 1e-4f; }

int64_t size_of(const std::vector<int64_t>& v) { return static_cast<int64_t>(v.size()); }

}  // namespace

Units::Units(double largest, double total)
    : unit_(total > 0.0 ? std::ldexp(1.0, std::max(std::ilogb(largest) - 49, std::ilogb(total) - 60)) : 1.0),
      magic_(1.5 * 0x1p52 * unit_) {}

uint64_t Units::of(float term) const { return bits_of(static_cast<double>(term) + magic_) - bits_of(magic_); }

// Rows that meet panels together, and what comes of it.
struct Coverage::Block {
  Block(const Coverage& coverage, const int64_t* which, int64_t count, bool listing)
      : rows(which),
        n(count),
        points(n * coverage.stride_),
        norms(n),
        k(n * coverage.width_),
        sums(n),
        live(n),
        room(kFlush + coverage.width_),
        found(listing ? n * room : 0),
        counts(n) {
    for (int64_t r = 0; r < n; ++r) {
      coverage.hot_.read_row(coverage.x_.data, static_cast<int>(coverage.x_.dtype), rows[r], coverage.x_.cols,
                             coverage.scale_, points.data() + r * coverage.stride_);
      norms[r] = coverage.norms_[rows[r]];
    }
  }

  // What was found for row r goes to its list.
  void flush(LiveLists& lists, int64_t r) {
    lists.append(rows[r], found.data() + r * room, counts[r]);
    counts[r] = 0;
  }

  static constexpr int64_t kFlush = 64;
  const int64_t* rows;
  int64_t n;
  std::vector<float> points, norms, k;  // [n, stride], [n], similarities to a panel [n, width]
  std::vector<uint64_t> sums, live;     // [n] gains so far; [n] the lanes of a panel that a row gains by
  int64_t room;
  std::vector<Live> found;      // [n, room]
  std::vector<int64_t> counts;  // [n]
};

Coverage::Coverage(const Matrix& x, const float* scale, const Targets& targets, const float* gain, const float* covered,
                   float gamma, int64_t k, bool plain, int64_t memory, const Tick& tick)
    : hot_(isa()),
      x_(x),
      scale_(scale),
      gain_(gain),
      own_(targets.own),
      gamma_(gamma),
      plain_(plain),
      width_(hot_.panel_width()),
      stride_(padded(x.cols)),
      tick_(tick),
      norms_(norms()),
      targets_(targets.count, x.cols),
      units_(targets.count ? *std::max_element(targets.weights, targets.weights + targets.count) : 0.0f,
             std::accumulate(targets.weights, targets.weights + targets.count, 0.0)),
      columns_(x.rows, -1),
      picks_(own_ ? k : 0, x.cols),
      covered_rows_(covered, covered + (own_ ? x.rows : 0)),
      seen_(own_ ? x.rows : 0),
      lists_(plain ? 0 : x.rows, memory),
      last_(plain ? 0 : x.rows) {
  add_targets(targets, covered);
}

void Coverage::add_targets(const Targets& targets, const float* covered) {
  std::vector<float> row(stride_);
  for (int64_t t = 0; t < targets.count; ++t) {
    if (targets.weights[t] == 0.0f) continue;
    const int64_t i = targets.rows[t];
    columns_[i] = static_cast<int32_t>(targets_.size());
    hot_.read_row(x_.data, static_cast<int>(x_.dtype), i, x_.cols, scale_, row.data());
    targets_.add(row.data(), norms_[i]);
    rows_.push_back(i);
    weights_.push_back(targets.weights[t]);
    covered_.push_back(covered[i]);
    limits_.push_back(limit(covered[i]));
    if (t % 4096 == 0 && tick_) tick_(0);
  }
  const int64_t lanes = targets_.count() * width_;
  weights_.resize(lanes, 0.0f);
  covered_.resize(lanes, 1.0f);
  limits_.resize(lanes, 0.0f);
}

void Coverage::in_parts(int64_t tasks, int64_t work, const std::function<void(int64_t)>& task) const {
  const int64_t at_once = std::max<int64_t>(num_threads(), kTickWork / work);
  for (int64_t begin = 0; begin < tasks; begin += at_once) {
    parallel_for(std::min(at_once, tasks - begin), [&](int64_t part) { task(begin + part); });
    if (tick_) tick_(picked_);
  }
}

// |x_i|^2 of all rows, summed as products with a panel are.
std::vector<float> Coverage::norms() const {
  std::vector<float> norms(x_.rows);
  const int64_t step = 16 * width_;
  in_parts(chunks_of(x_.rows, step), step * width_ * x_.cols, [&](int64_t chunk) {
    std::vector<float> rows(width_ * stride_), panel(width_ * x_.cols), products(width_ * width_);
    const int64_t to = std::min(x_.rows, (chunk + 1) * step);
    for (int64_t i = chunk * step; i < to; i += width_) {
      const int64_t n = std::min(width_, to - i);
      for (int64_t r = 0; r < n; ++r) {
        hot_.read_row(x_.data, static_cast<int>(x_.dtype), i + r, x_.cols, scale_, rows.data() + r * stride_);
        hot_.panel_set(panel.data(), r, rows.data() + r * stride_, x_.cols);
      }
      hot_.panel_products(rows.data(), n, stride_, panel.data(), x_.cols, products.data());
      for (int64_t r = 0; r < n; ++r) norms[i + r] = products[r * width_ + r];
    }
  });
  return norms;
}

// ------------------------------------------------------------------------------------------ which way to compute

double Coverage::share() const { return share_ * (share_at_ + 1.0) / (picked_ + 1.0); }

// Rows gain by about 1 / (t + 1) of the targets after t picks, as if these came in random order.
bool Coverage::fit(int64_t lists) const { return 1.1 * share() * lists * targets_.size() < lists_.room(); }

bool Coverage::better_at_once(int64_t done, int64_t needed, int64_t picks_left) const {
  if (plain_ || own_) return false;
  if (done * kHesitation >= targets_.size() && 2 * needed > targets_.size()) return true;
  const double rate = static_cast<double>(alone_) / static_cast<double>(std::max<int64_t>(1, picked_ - at_once_));
  return 2 * rate * picks_left > targets_.size() && fit(x_.rows);
}

void Coverage::gains(const std::vector<int64_t>& rows, double* out) {
  const int64_t n = size_of(rows);
  std::vector<uint64_t> sums(n);
  std::vector<bool> done(n, false);
  // Computes, by sum(rows, out), the sums that are missing at the places that `takes` takes.
  const auto compute = [&](const auto& takes, const auto& sum) {
    std::vector<int64_t> these, places;
    for (int64_t r = 0; r < n; ++r)
      if (!done[r] && takes(r)) {
        these.push_back(rows[r]);
        places.push_back(r);
      }
    if (these.empty()) return;
    std::vector<uint64_t> answer(these.size());
    sum(these, answer.data());
    for (size_t i = 0; i < places.size(); ++i) {
      sums[places[i]] = answer[i];
      done[places[i]] = true;
    }
  };
  compute([&](int64_t r) { return listed(rows[r]); }, [&](const auto& these, auto* to) { list_sums(these, to); });
  const int64_t far = std::count(done.begin(), done.end(), false);
  if (!plain_ && far >= kProbe * kProbe) {
    const int64_t step = n / kProbe;
    compute([&](int64_t r) { return r % step == 0; },
            [&](const auto& these, auto* to) { dense_sums(these, to, true); });
    if (share() < kMostListed && !fit(far)) make_room();
  }
  if (!plain_ && !own_ && 2 * far > targets_.size()) {
    compute([&](int64_t r) { return columns_[rows[r]] >= 0; },
            [&](const auto& these, auto* to) { symmetric_sums(these, to); });
    at_once_ = picked_;
    alone_ = 0;
  } else {
    alone_ += far;
  }
  compute([](int64_t) { return true; }, [&](const auto& these, auto* to) { dense_sums(these, to, false); });
  for (int64_t r = 0; r < n; ++r) {
    const double own = own_ ? own_[rows[r]] * (1.0 - covered_rows_[rows[r]]) : 0.0;
    out[r] = gain_[rows[r]] * (own + units_.value(sums[r]));
    if (!plain_) last_[rows[r]] = static_cast<float>(out[r]);
  }
}

// ----------------------------------------------------------------------------------------------------- by products

// Similarities of a block to a panel; 0 to a row itself where its own worth counts apart, and for whole vectors that
// are below the panel's limits and below those of the rows.
void Coverage::similar(Block& block, int64_t panel, const float* row_limits) const {
  hot_.panel_products(block.points.data(), block.n, stride_, targets_.numbers(panel), x_.cols, block.k.data());
  if (own_)
    for (int64_t r = 0; r < block.n; ++r) {
      const int64_t lane = columns_[block.rows[r]] - panel * width_;
      if (lane >= 0 && lane < width_) block.k[r * width_ + lane] = -kInfinity;  // as far away as can be: k = 0
    }
  hot_.panel_kernel(block.k.data(), block.n, block.norms.data(), targets_.norms(panel), limits_.data() + panel * width_,
                    row_limits, gamma_);
}

void Coverage::gain(Block& block, int64_t panel) const {
  hot_.panel_gains(block.k.data(), block.n, weights_.data() + panel * width_, covered_.data() + panel * width_,
                   units_.magic(), block.sums.data());
}

// Lists what row r of a block gains by, of a panel whose `live` is known.
void Coverage::list(Block& block, int64_t panel, int64_t r) {
  Live* found = block.found.data() + r * block.room;
  for (uint64_t lanes = block.live[r]; lanes != 0; lanes &= lanes - 1) {
    const int64_t lane = __builtin_ctzll(lanes);
    found[block.counts[r]++] = {static_cast<int32_t>(panel * width_ + lane), block.k[r * width_ + lane]};
  }
  if (block.counts[r] >= Block::kFlush) block.flush(lists_, r);
}

void Coverage::dense_sums(const std::vector<int64_t>& rows, uint64_t* out, bool probe) {
  const int64_t n = size_of(rows), chunks = chunks_of(targets_.count(), kChunk);
  const bool listing = !plain_ && (probe || share() < kMostListed);
  const std::vector<float> no_limits(kBlock, kInfinity);
  std::vector<std::atomic<uint64_t>> sums(n);
  std::atomic<int64_t> live{0};
  counts().in_panels += n * targets_.size();
  in_parts(chunks_of(n, kBlock) * chunks, kBlock * kChunk * width_ * x_.cols, [&](int64_t task) {
    const int64_t from = task / chunks * kBlock, chunk = task % chunks;
    Block block(*this, rows.data() + from, std::min(kBlock, n - from), listing);
    int64_t entries = 0;
    for (int64_t panel = chunk * kChunk; panel < std::min(targets_.count(), (chunk + 1) * kChunk); ++panel) {
      similar(block, panel, no_limits.data());
      gain(block, panel);
      if (!listing) continue;
      hot_.panel_live(block.k.data(), block.n, covered_.data() + panel * width_, block.live.data());
      for (int64_t r = 0; r < block.n; ++r) {
        entries += __builtin_popcountll(block.live[r]);
        list(block, panel, r);
      }
    }
    for (int64_t r = 0; r < block.n; ++r) {
      sums[from + r].fetch_add(block.sums[r], std::memory_order_relaxed);
      if (listing) block.flush(lists_, r);
    }
    live += entries;
    if (own_ && chunk == 0) cover_rows(block);
  });
  bool full = false;
  for (int64_t r = 0; r < n; ++r) {
    out[r] = sums[r];
    full |= listing && !lists_.finish(rows[r]);
  }
  if (probe) {
    share_ = static_cast<double>(live) / static_cast<double>(n * targets_.size());
    share_at_ = picked_;
  }
  if (full) make_room();
}

// Sums of rows that are targets, which takes those of all: each similarity is worth something to both of its rows.
void Coverage::symmetric_sums(const std::vector<int64_t>& rows, uint64_t* out) {
  const int64_t panels = (kBlock + width_ - 1) / width_, block_rows = panels * width_;
  const int64_t chunks = chunks_of(targets_.count(), kChunk);
  const bool listing = fit(size_of(rows));
  std::vector<std::atomic<uint64_t>> sums(targets_.count() * width_);
  std::vector<char> listed(sums.size(), false);
  for (const int64_t row : rows) listed[columns_[row]] = listing;
  in_parts(chunks_of(targets_.count(), panels) * chunks, block_rows * kChunk * width_ * x_.cols, [&](int64_t task) {
    const int64_t first = task / chunks * panels, chunk = task % chunks, from = first * width_;
    const int64_t last = std::min(targets_.count(), (chunk + 1) * kChunk);
    if (first >= last) return;
    Block block(*this, rows_.data() + from, std::min(block_rows, targets_.size() - from), listing);
    std::vector<uint64_t> back(width_);
    std::vector<Live> found(block.n * width_);
    std::vector<int64_t> found_count(width_);
    for (int64_t panel = std::max(first, chunk * kChunk); panel < last; ++panel) {
      const int64_t t = panel * width_;
      counts().in_panels += block.n * std::min(width_, targets_.size() - t);
      similar(block, panel, limits_.data() + from);
      gain(block, panel);
      if (listing) {
        hot_.panel_live(block.k.data(), block.n, covered_.data() + t, block.live.data());
        for (int64_t r = 0; r < block.n; ++r)
          if (listed[from + r]) list(block, panel, r);
      }
      if (panel < first + panels) continue;  // the panel's rows are of this block: they meet both ways
      std::fill(back.begin(), back.end(), 0);
      hot_.panel_gains_back(block.k.data(), block.n, weights_.data() + from, covered_.data() + from, units_.magic(),
                            back.data());
      for (int64_t l = 0; l < width_; ++l) sums[t + l].fetch_add(back[l], std::memory_order_relaxed);
      if (!listing) continue;
      hot_.panel_live_back(block.k.data(), block.n, covered_.data() + from, block.live.data());
      std::fill(found_count.begin(), found_count.end(), 0);
      for (int64_t r = 0; r < block.n; ++r)
        for (uint64_t lanes = block.live[r]; lanes != 0; lanes &= lanes - 1) {
          const int64_t lane = __builtin_ctzll(lanes);
          found[lane * block.n + found_count[lane]++] = {static_cast<int32_t>(from + r), block.k[r * width_ + lane]};
        }
      for (int64_t lane = 0; lane < width_; ++lane)
        if (listed[t + lane]) lists_.append(rows_[t + lane], found.data() + lane * block.n, found_count[lane]);
    }
    for (int64_t r = 0; r < block.n; ++r) {
      sums[from + r].fetch_add(block.sums[r], std::memory_order_relaxed);
      if (listed[from + r]) block.flush(lists_, r);
    }
  });
  for (size_t i = 0; i < rows.size(); ++i) {
    out[i] = sums[columns_[rows[i]]];
    if (listing) lists_.finish(rows[i]);
  }
}

// Rows meet the picks that they have not met.
void Coverage::cover_rows(Block& block) {
  const std::vector<float> no_limits(std::max(width_, block.n), -kInfinity);
  int64_t first = picks_.size();
  for (int64_t r = 0; r < block.n; ++r) first = std::min<int64_t>(first, seen_[block.rows[r]]);
  counts().in_panels += block.n * (picks_.size() - first / width_ * width_);
  for (int64_t panel = first / width_; panel < picks_.count(); ++panel) {
    hot_.panel_products(block.points.data(), block.n, stride_, picks_.numbers(panel), x_.cols, block.k.data());
    hot_.panel_kernel(block.k.data(), block.n, block.norms.data(), picks_.norms(panel), no_limits.data(),
                      no_limits.data(), gamma_);
    for (int64_t r = 0; r < block.n; ++r) {
      const float* k = block.k.data() + r * width_;
      covered_rows_[block.rows[r]] = std::max(covered_rows_[block.rows[r]], *std::max_element(k, k + width_));
    }
  }
  for (int64_t r = 0; r < block.n; ++r) seen_[block.rows[r]] = static_cast<int32_t>(picks_.size());
}

void Coverage::cover(int64_t row) {
  Block block(*this, &row, 1, false);
  if (own_) picks_.add(block.points.data(), norms_[row]);
  if (own_ && columns_[row] >= 0) cover_target(columns_[row], 1.0f);
  if (listed(row)) {
    lists_.visit(row, [&](int64_t target, float k) { cover_target(target, k); });
    lists_.drop(row);
  } else {
    counts().in_panels += targets_.size();
    parallel_for(chunks_of(targets_.count(), kChunk), [&](int64_t chunk) {
      Block own(*this, &row, 1, false);
      for (int64_t panel = chunk * kChunk; panel < std::min(targets_.count(), (chunk + 1) * kChunk); ++panel) {
        similar(own, panel, &kInfinity);
        for (int64_t lane = 0; lane < width_; ++lane) cover_target(panel * width_ + lane, own.k[lane]);
      }
    });
  }
  ++picked_;
  if (tick_) tick_(picked_);
}

void Coverage::cover_target(int64_t target, float k) {
  if (k <= covered_[target]) return;
  covered_[target] = k;
  limits_[target] = limit(k);
}

// -------------------------------------------------------------------------------------------------------- by lists

void Coverage::list_sums(const std::vector<int64_t>& rows, uint64_t* out) {
  const int64_t n = size_of(rows);
  parallel_for(chunks_of(n, kGrain), [&](int64_t chunk) {
    for (int64_t r = chunk * kGrain; r < std::min(n, (chunk + 1) * kGrain); ++r) out[r] = list_sum(rows[r]);
  });
  if (own_)
    parallel_for(chunks_of(n, kBlock), [&](int64_t chunk) {
      Block block(*this, rows.data() + chunk * kBlock, std::min(kBlock, n - chunk * kBlock), false);
      cover_rows(block);
    });
}

uint64_t Coverage::list_sum(int64_t row) {
  uint64_t sum = 0;
  int64_t entries = 0, live = 0;
  lists_.visit(row, [&](int64_t target, float k) {
    const float extra = std::max(k - covered_[target], 0.0f);
    sum += units_.of(weights_[target] * extra);
    ++entries;
    live += extra > 0.0f;
  });
  if (kDead * (entries - live) > entries) shrink(row);
  return sum;
}

void Coverage::shrink(int64_t row) {
  lists_.shrink(row, [&](int64_t target, float k) { return k > covered_[target]; });
}

// Once per pick: shrinks all lists, then, if that is not enough, drops those of the smallest gains.
void Coverage::make_room() {
  if (room_made_ == picked_) return;
  room_made_ = picked_;
  std::vector<int64_t> rows;
  for (int64_t row = 0; row < x_.rows; ++row)
    if (lists_.has(row)) rows.push_back(row);
  parallel_for(chunks_of(size_of(rows), kGrain), [&](int64_t chunk) {
    for (int64_t r = chunk * kGrain; r < std::min(size_of(rows), (chunk + 1) * kGrain); ++r) shrink(rows[r]);
  });
  std::sort(rows.begin(), rows.end(), [&](int64_t a, int64_t b) { return last_[a] < last_[b]; });
  for (const int64_t row : rows) {
    if (lists_.room() >= lists_.most() / 8) return;
    lists_.drop(row);
  }
}

}  // namespace autoal::cpu
