#include "cpu/euclidean.h"

#include <algorithm>
#include <limits>

namespace autoal::cpu {
namespace {

constexpr int kFloat32 = static_cast<int>(DType::kFloat32);

}  // namespace

// Products and norms are sums of D terms, as is the direct difference: each is off by at most a relative (D + 1) 2^-24.
Euclidean::Euclidean(const Matrix& x, const float* scale, int64_t most_centers)
    : hot_(isa()),
      x_(x),
      scale_(scale),
      dtype_(static_cast<int>(x.dtype)),
      stride_(padded(x.cols)),
      width_(hot_.panel_width()),
      slack_(4.0f * static_cast<float>(x.cols + 16) * 0x1p-24f),
      tiny_(4.0f * static_cast<float>(x.cols + 16) * 0x1p-126f) {
  const int64_t panels = (most_centers + width_ - 1) / width_;
  centers_.reserve(most_centers * stride_);
  panels_.reserve(panels * x.cols * width_);
  offsets_.reserve(panels * width_);
}

void Euclidean::add(int64_t row) {
  read(row, new_center());
  place_new_center();
}

void Euclidean::add_point(const float* point) {
  std::copy_n(point, x_.cols, new_center());
  place_new_center();
}

float* Euclidean::new_center() {
  centers_.resize((count_ + 1) * stride_, 0.0f);
  return centers_.data() + count_ * stride_;
}

void Euclidean::place_new_center() {
  const int64_t panel = count_ / width_, lane = count_ % width_;
  if (lane == 0) {
    panels_.resize((panel + 1) * x_.cols * width_, 0.0f);
    offsets_.resize((panel + 1) * width_, std::numeric_limits<float>::infinity());
  }
  float* center = centers_.data() + count_ * stride_;
  float norm;
  hot_.dots(center, kFloat32, 0, 1, x_.cols, center, center, &norm);
  hot_.panel_set(panels_.data() + panel * x_.cols * width_, lane, center, x_.cols);
  offsets_[count_++] = norm * (1.0f - slack_);
}

void Euclidean::cover(int64_t begin, int64_t end, int64_t number, float* bound, Points& points) const {
  points.buffer.resize(stride_);
  double total;
  hot_.cover(x_.data, dtype_, begin, end, x_.cols, scale_, center(number), points.buffer.data(), bound, &total);
}

void Euclidean::meet(Points& points, int64_t slots, int64_t panel, const float* bounds, uint64_t* hits) const {
  points.buffer.resize(slots);
  for (int64_t slot = 0; slot < slots; ++slot) points.buffer[slot] = bounds[slot] - points.norms[slot] + tiny_;
  const float* centers = panels_.data() + panel * x_.cols * width_;
  hot_.panel_products(points.rows.data(), slots, stride_, centers, x_.cols, points.products.data());
  hot_.panel_below(points.products.data(), slots, offsets_.data() + panel * width_, points.buffer.data(), hits);
}

void Euclidean::Points::reserve(const Euclidean& metric, int64_t n) {
  stride = metric.stride_;
  if (static_cast<int64_t>(norms.size()) >= n) return;
  rows.resize(n * stride);
  norms.resize(n);
  products.resize(n * metric.width_);
}

void Euclidean::Points::join(const Euclidean& metric, int64_t slot, int64_t row) {
  float *point = rows.data() + slot * stride, norm;
  metric.read(row, point);
  metric.hot_.dots(point, kFloat32, 0, 1, metric.x_.cols, point, point, &norm);
  norms[slot] = norm * (1.0f - metric.slack_);
}

void Euclidean::Points::move(int64_t from, int64_t to) {
  std::copy_n(rows.data() + from * stride, stride, rows.data() + to * stride);
  norms[to] = norms[from];
}

}  // namespace autoal::cpu
