#include "cpu/coverage.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/parallel.h"

namespace autoal::cpu {
namespace {

constexpr int64_t kTickWork = int64_t{1} << 31;  // products between two ticks, some tens of milliseconds
constexpr int64_t kSampled = 31;                 // rows that tell where the middle is
constexpr int64_t kNorms = 1024;                 // that a thread computes in a task
constexpr int64_t kGrain = 8;                    // lists that a thread goes through in a task
constexpr int64_t kProbe = 16;                   // rows that tell how long lists are before many are computed
constexpr double kMostListed = 0.25;             // of the targets: longer lists are not worth their memory
constexpr int64_t kEntryWork = 16;               // an entry of a list, in products, times the share that is left
constexpr int64_t kDead = 4;                     // 1 / part of a list that is of no use before it is shrunk
constexpr int64_t kFewTargets = 8;               // 1 / part of the rows: symmetry saves next to nothing
constexpr int64_t kHesitation = 64;              // 1 / part of the targets' gains that are computed before all are
constexpr uint64_t kDigits = uint64_t{1} << 24;  // units in the largest term, at least: what a float tells apart

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
      slack_(4.0f * static_cast<float>(x.cols + 16) * 0x1p-24f),
      tick_(tick),
      middle_(middle()),
      norms_(norms()),
      targets_(targets.count, x.cols),
      columns_(x.rows, -1),
      picks_(own_ ? k : 0, x.cols),
      covered_rows_(covered, covered + (own_ ? x.rows : 0)),
      seen_(own_ ? x.rows : 0),
      lists_(plain ? 0 : x.rows, memory),
      last_(plain ? 0 : x.rows) {
  add_targets(targets, covered);
  choose_units();
}

void Coverage::add_targets(const Targets& targets, const float* covered) {
  std::vector<float> row(stride_);
  for (int64_t t = 0; t < targets.count; ++t) {
    if (targets.weights[t] == 0.0f) continue;
    const int64_t i = targets.rows[t];
    columns_[i] = static_cast<int32_t>(targets_.size());
    read(i, row.data());
    targets_.add(row.data(), norms_[i], i);
    weights_.push_back(targets.weights[t]);
    covered_.push_back(covered[i]);
    limits_.push_back(limit(covered[i]));
    if (t % 4096 == 0 && tick_) tick_(0);
  }
  symmetric_ = !plain_ && !own_ && kFewTargets * targets_.size() >= x_.rows;
  const int64_t lanes = targets_.count() * width_;
  weights_.resize(lanes, 0.0f);
  covered_.resize(lanes, 1.0f);
  limits_.resize(lanes, 0.0f);
}

// By what is left of the targets, which no term of a gain exceeds. Returns whether anything is.
bool Coverage::choose_units() {
  float largest = 0.0f;
  double total = 0.0;
  for (int64_t t = 0; t < targets_.size(); ++t) {
    largest = std::max(largest, left(t));
    total += left(t);
  }
  units_ = Units(largest, total);
  heavy_ = 0;
  return largest > 0.0f;
}

// Depends on what is covered alone, so that lazy and plain greedy change units at the same pick. Little stays little:
// as long as one target has enough left, those before it need not be looked at again.
bool Coverage::refine() {
  while (heavy_ < targets_.size() && left(heavy_) < units_.value(kDigits)) ++heavy_;
  return heavy_ == targets_.size() && choose_units();
}

void Coverage::in_parts(int64_t tasks, int64_t work, const std::function<void(int64_t)>& task) const {
  const int64_t at_once = std::max<int64_t>(num_threads(), kTickWork / std::max<int64_t>(1, work));
  for (int64_t begin = 0; begin < tasks; begin += at_once) {
    parallel_for(std::min(at_once, tasks - begin), [&](int64_t part) { task(begin + part); });
    if (tick_) tick_(picked_);
  }
}

// The median of some rows, column by column. Where it lies decides nothing but how many distances are taken anew; that
// of rows which lie far off moves it little.
std::vector<float> Coverage::middle() const {
  const int64_t n = std::min(x_.rows, kSampled);
  std::vector<float> rows(n * stride_), column(n), middle(stride_);
  for (int64_t i = 0; i < n; ++i)
    hot_.read_row(x_.data, static_cast<int>(x_.dtype), i * x_.rows / n, x_.cols, scale_, rows.data() + i * stride_);
  for (int64_t j = 0; j < x_.cols; ++j) {
    for (int64_t i = 0; i < n; ++i) column[i] = rows[i * stride_ + j];
    std::nth_element(column.begin(), column.begin() + n / 2, column.end());
    middle[j] = column[n / 2];
  }
  return middle;
}

std::vector<float> Coverage::norms() const {
  std::vector<float> norms(x_.rows);
  in_parts(chunks_of(x_.rows, kNorms), kNorms * x_.cols, [&](int64_t chunk) {
    std::vector<float> row(stride_);
    for (int64_t i = chunk * kNorms; i < std::min(x_.rows, (chunk + 1) * kNorms); ++i) {
      read(i, row.data());
      norms[i] = 0.5f * hot_.product(row.data(), row.data(), x_.cols);
    }
  });
  return norms;
}

// A row less the middle, into out [stride].
void Coverage::read(int64_t row, float* out) const {
  hot_.read_row(x_.data, static_cast<int>(x_.dtype), row, x_.cols, scale_, out);
  for (int64_t j = 0; j < x_.cols; ++j) out[j] -= middle_[j];
}

// ------------------------------------------------------------------------------------------ which way to compute

double Coverage::share() const { return share_ * (share_at_ + 1.0) / (picked_ + 1.0); }

bool Coverage::worth_listing() const { return share() < kMostListed; }

// Rows gain by about 1 / (t + 1) of the targets after t picks, as if these came in random order.
bool Coverage::fit(int64_t lists) const { return 1.1 * share() * lists * targets_.size() < lists_.room(); }

bool Coverage::better_at_once(int64_t done, const std::function<int64_t()>& needed, int64_t picks_left) const {
  if (!symmetric_) return false;
  if (done * kHesitation >= targets_.size() && 2 * needed() > targets_.size()) return true;
  const double rate = static_cast<double>(alone_) / static_cast<double>(std::max<int64_t>(1, picked_ - at_once_));
  return 2 * rate * picks_left > targets_.size() && worth_listing() && fit(x_.rows);
}

void Coverage::gains(const std::vector<int64_t>& rows, float* out) {
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
    if (worth_listing() && !fit(far)) make_room();
  }
  const auto is_target = [&](int64_t r) { return columns_[rows[r]] >= 0; };
  int64_t targets = 0;
  for (int64_t r = 0; r < n; ++r) targets += !done[r] && is_target(r);
  if (symmetric_ && 2 * targets > targets_.size()) {
    compute(is_target, [&](const auto& these, auto* to) { symmetric_sums(these, to); });
    at_once_ = picked_;
    alone_ = 0;
  } else {
    alone_ += far;
  }
  compute([](int64_t) { return true; }, [&](const auto& these, auto* to) { dense_sums(these, to, false); });
  for (int64_t r = 0; r < n; ++r) {
    const double own = own_ ? own_[rows[r]] * (1.0 - covered_rows_[rows[r]]) : 0.0;
    out[r] = static_cast<float>(gain_[rows[r]] * (own + units_.value(sums[r])));
    if (!plain_) last_[rows[r]] = out[r];
  }
}

void Coverage::cover(int64_t row) {
  if (own_) add_pick(row);
  if (listed(row)) {
    lists_.visit(row, [&](int64_t target, float k) { cover_target(target, k); });
    lists_.drop(row);
  } else {
    cover_targets(row);
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
  in_parts(chunks_of(n, kGrain), kGrain * kEntryWork * targets_.size(), [&](int64_t chunk) {
    for (int64_t r = chunk * kGrain; r < std::min(n, (chunk + 1) * kGrain); ++r) out[r] = list_sum(rows[r]);
  });
  if (own_) cover_rows(rows);
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
