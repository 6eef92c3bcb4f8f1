// A row that many centers are new to meets them in panels: |x|^2 + |c|^2 - 2 <x, c> from a register tile, less a
// rigorous bound of its error, tells for nearly all pairs that the center is no nearer. What is left is computed by the
// same direct difference as in a plain pass, so bounds that are up to date equal those of plain passes to the last bit.
#include "cpu/lazy_distances.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "common/parallel.h"

namespace autoal::cpu {
namespace {

constexpr int64_t kBlockBytes = 1 << 19;  // rows that meet the panels together: they stay in the second-level cache
constexpr int64_t kFew = 4;               // this many new centers are met one by one
constexpr int64_t kPassGrain = 1 << 17;   // numbers per chunk of a pass
constexpr int64_t kAhead = 4;             // rows that are fetched before they are needed
constexpr float kTiny = 1e-35f;           // covers what is lost where squares are subnormal

}  // namespace

// `late` rows have many new centers; of these `active` ones lie one after the other in `points`.
struct LazyDistances::Scratch {
  std::vector<int64_t> late, active;
  std::vector<float> row, points, norms, threshold, products;
  std::vector<uint64_t> hits;

  void reserve(int64_t rows, int64_t stride, int64_t width) {
    if (static_cast<int64_t>(active.size()) >= rows) return;
    active.resize(rows);
    points.resize(rows * stride);
    norms.resize(rows);
    threshold.resize(rows);
    products.resize(rows * width);
    hits.resize(rows);
  }
};

LazyDistances::~LazyDistances() = default;

LazyDistances::LazyDistances(const Matrix& x, const float* scale, int64_t most_centers)
    : bound(x.rows, std::numeric_limits<float>::infinity()),
      hot_(isa()),
      x_(x),
      scale_(scale),
      dtype_(static_cast<int>(x.dtype)),
      stride_(padded(x.cols)),
      width_(hot_.panel_width()),
      // Products and norms by fused sums of D terms, and the direct difference itself: each off by a relative D 2^-24.
      slack_(4.0f * static_cast<float>(x.cols + 16) * 0x1p-24f),
      seen_(x.rows, 0) {
  const int64_t panels = (most_centers + width_ - 1) / width_;
  center_rows_.reserve(most_centers * stride_);
  panels_.reserve(panels * x.cols * width_);
  panel_offset_.reserve(panels * width_);
}

void LazyDistances::read_row(int64_t i, float* out) const { hot_.read_row(x_.data, dtype_, i, x_.cols, scale_, out); }

void LazyDistances::add(int64_t row) {
  const int64_t panel = count_ / width_, lane = count_ % width_;
  if (lane == 0) {
    panels_.resize((panel + 1) * x_.cols * width_, 0.0f);
    panel_offset_.resize((panel + 1) * width_, std::numeric_limits<float>::infinity());
  }
  center_rows_.resize((count_ + 1) * stride_, 0.0f);
  float* center = center_rows_.data() + count_ * stride_;
  read_row(row, center);
  float norm;
  hot_.dots(center, static_cast<int>(DType::kFloat32), 0, 1, x_.cols, nullptr, center, &norm);
  hot_.panel_set(panels_.data() + panel * x_.cols * width_, lane, center, x_.cols);
  panel_offset_[panel * width_ + lane] = norm * (1.0f - slack_);
  ++count_;
}

void LazyDistances::cover_all() {
  const int64_t step = std::max<int64_t>(1, kPassGrain / x_.cols);
  parallel_for(chunks_of(x_.rows, step), [&](int64_t chunk) {
    const int64_t begin = step * chunk, end = std::min(x_.rows, begin + step);
    std::vector<float> buffer(stride_);
    double total;
    hot_.cover(x_.data, dtype_, begin, end, x_.cols, scale_, center(count_ - 1), buffer.data(), bound.data(), &total);
    std::fill(seen_.begin() + begin, seen_.begin() + end, static_cast<int32_t>(count_));
  });
  evaluations += x_.rows;
}

void LazyDistances::refresh(const int64_t* rows, int64_t n, float floor) {
  // Rows that know equally many centers together: they meet the same panels.
  order_.assign(rows, rows + n);
  std::sort(order_.begin(), order_.end(),
            [&](int64_t a, int64_t b) { return seen_[a] < seen_[b] || (seen_[a] == seen_[b] && a < b); });
  for (int64_t i = 0; i < n; ++i) evaluations += count_ - seen_[rows[i]];
  const int64_t most = std::max<int64_t>(16, kBlockBytes / (4 * stride_));
  const int64_t step = std::clamp<int64_t>((n + 4 * num_threads() - 1) / (4 * num_threads()), 16, most);
  parallel_for(chunks_of(n, step), [&](int64_t chunk) {
    std::unique_ptr<Scratch> scratch;
    {
      std::lock_guard<std::mutex> lock(scratch_mutex_);
      if (!scratch_.empty()) {
        scratch = std::move(scratch_.back());
        scratch_.pop_back();
      }
    }
    if (!scratch) scratch = std::make_unique<Scratch>();
    refresh_block(order_.data() + chunk * step, std::min(step, n - chunk * step), floor, *scratch);
    std::lock_guard<std::mutex> lock(scratch_mutex_);
    scratch_.push_back(std::move(scratch));
  });
}

void LazyDistances::lower_by_one(int64_t row, int64_t number, float* buffer) {
  double total;
  hot_.cover(x_.data, dtype_, row, row + 1, x_.cols, scale_, center(number), buffer, bound.data(), &total);
}

void LazyDistances::refresh_block(const int64_t* rows, int64_t n, float floor, Scratch& scratch) {
  auto& [late, active, row_buffer, points, norms, threshold, products, hits] = scratch;
  late.clear();
  row_buffer.resize(stride_);
  floor = std::max(floor, 0.0f);  // nothing lowers 0
  for (int64_t i = 0; i < n; ++i) {
    const int64_t row = rows[i];
    if (bound[row] <= floor) continue;
    if (count_ - seen_[row] > kFew) {
      late.push_back(row);
      continue;
    }
    while (seen_[row] < count_ && bound[row] > floor) lower_by_one(row, seen_[row]++, row_buffer.data());
  }
  if (late.empty()) return;

  // Each row joins the active ones at the panel of its first new center.
  const int64_t capacity = static_cast<int64_t>(late.size()), d = x_.cols;
  scratch.reserve(capacity, stride_, width_);
  int64_t n_active = 0, joined = 0;
  const auto limit = [&](int64_t slot) { return bound[active[slot]] - norms[slot] + kTiny; };
  for (int64_t panel = seen_[late[0]] / width_; panel * width_ < count_; ++panel) {
    const int64_t first = panel * width_, last = std::min(count_, first + width_);
    for (; joined < capacity && seen_[late[joined]] < last; ++joined, ++n_active) {
      float* point = points.data() + n_active * stride_;
      active[n_active] = late[joined];
      if (joined + kAhead < capacity) hot_.prefetch_row(x_.data, dtype_, late[joined + kAhead], d);
      read_row(late[joined], point);
      float norm;
      hot_.dots(point, static_cast<int>(DType::kFloat32), 0, 1, d, nullptr, row_buffer.data(), &norm);
      norms[n_active] = norm * (1.0f - slack_);
    }
    if (n_active == 0) continue;
    for (int64_t s = 0; s < n_active; ++s) threshold[s] = limit(s);
    const float* offset = panel_offset_.data() + first;
    hot_.panel_products(points.data(), n_active, stride_, panels_.data() + panel * d * width_, d, products.data());
    hot_.panel_below(products.data(), n_active, offset, threshold.data(), hits.data());
    for (int64_t s = n_active - 1; s >= 0; --s) {
      const int64_t row = active[s];
      const float* point = points.data() + s * stride_;
      uint64_t left = hits[s];
      if (seen_[row] > first) left &= ~uint64_t{0} << (seen_[row] - first);
      for (; left; left &= left - 1) {
        const int64_t lane = __builtin_ctzll(left);
        if (offset[lane] - 2.0f * products[s * width_ + lane] >= threshold[s]) continue;
        const float distance = hot_.distance(point, center(first + lane), d);
        if (distance >= bound[row]) continue;
        bound[row] = distance;
        threshold[s] = limit(s);
      }
      seen_[row] = static_cast<int32_t>(last);
      if (bound[row] > floor) continue;
      --n_active;  // the last active row takes its place
      if (s == n_active) continue;
      std::copy_n(points.data() + n_active * stride_, stride_, points.data() + s * stride_);
      active[s] = active[n_active];
      norms[s] = norms[n_active];
    }
  }
}

}  // namespace autoal::cpu
