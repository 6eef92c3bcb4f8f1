// Compiled without contraction: a_ii * h_ii rounds once in the norm and once in the product of copies, so that their
// distance is 0 exactly.
#include "cpu/gradient.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace autoal::cpu {
namespace {

constexpr int kFloat32 = static_cast<int>(DType::kFloat32);

}  // namespace

void Gradients::measure(const float* a, int64_t c, const Matrix& embeddings, int64_t begin, int64_t end, float* norms,
                        float* lengths) {
  const Isa& hot = isa();
  const int64_t d = embeddings.cols;
  std::vector<float> buffer(padded(std::max(c, d)));
  hot.dots(a, kFloat32, begin, end, c, nullptr, buffer.data(), norms + begin);
  hot.dots(embeddings.data, static_cast<int>(embeddings.dtype), begin, end, d, nullptr, buffer.data(), lengths + begin);
  for (int64_t i = begin; i < end; ++i) {
    norms[i] *= lengths[i];
    lengths[i] = std::sqrt(lengths[i]);
  }
}

// |<a, a'> <h, h'>| is at most (|g|^2 + |g'|^2) / 2; sums of C and of D terms are off by relative C 2^-24 and D 2^-24.
Gradients::Gradients(const float* a, int64_t c, const float* norms, const float* lengths, const Matrix& embeddings,
                     int64_t most_centers)
    : hot_(isa()),
      a_(a),
      norms_(norms),
      row_lengths_(lengths),
      c_(c),
      h_(embeddings),
      dtype_(static_cast<int>(embeddings.dtype)),
      stride_(padded(c)),
      wide_stride_(padded(embeddings.cols)),
      width_(hot_.panel_width()),
      slack_(4.0f * static_cast<float>(c + embeddings.cols + 32) * 0x1p-24f),
      tiny_(4.0f * static_cast<float>(c + embeddings.cols + 32) * 0x1p-100f) {
  const int64_t panels = (most_centers + width_ - 1) / width_;
  centers_.reserve(most_centers * stride_);
  wide_centers_.reserve(most_centers * wide_stride_);
  panels_.reserve(panels * c * width_);
  wide_panels_.reserve(panels * h_.cols * width_);
}

void Gradients::add(int64_t row) {
  const int64_t panel = count_ / width_, lane = count_ % width_;
  if (lane == 0) {
    panels_.resize((panel + 1) * c_ * width_, 0.0f);
    wide_panels_.resize((panel + 1) * h_.cols * width_, 0.0f);
    offsets_.resize((panel + 1) * width_, std::numeric_limits<float>::infinity());
    lengths_.resize((panel + 1) * width_, 0.0f);
  }
  centers_.resize((count_ + 1) * stride_, 0.0f);
  wide_centers_.resize((count_ + 1) * wide_stride_, 0.0f);
  float *center = centers_.data() + count_ * stride_, *wide = wide_centers_.data() + count_ * wide_stride_;
  hot_.read_row(a_, kFloat32, row, c_, nullptr, center);
  hot_.read_row(h_.data, dtype_, row, h_.cols, nullptr, wide);
  hot_.panel_set(panels_.data() + panel * c_ * width_, lane, center, c_);
  hot_.panel_set(wide_panels_.data() + panel * h_.cols * width_, lane, wide, h_.cols);
  lengths_[count_] = row_lengths_[row];
  offsets_[count_] = least_norm(row);
  rows_.push_back(row);
  ++count_;
}

// A sum over C of narrow products may lose V = (C + 16) 2^-126, where subnormal numbers are flushed to 0: of |a|^2, so
// that the slack is too small by slack V |h|^2, and of both products of a pair, in all 4 V |h| |h'|, which is at most
// 2 V (|h|^2 + |h'|^2).
float Gradients::least_norm(int64_t row) const {
  const float length = row_lengths_[row], vanished = static_cast<float>(c_ + 16) * 0x1p-124f;
  return norms_[row] - slack_ * norms_[row] - length * (length * vanished);
}

float Gradients::exact(float aa, float hh, int64_t row, int64_t number) const {
  if (row == rows_[number]) return 0.0f;
  const float product = aa * hh;
  return std::max(0.0f, (norms_[row] + norms_[rows_[number]]) - 2.0f * product);
}

void Gradients::cover(int64_t begin, int64_t end, int64_t number, float* bound, Points& points) const {
  const int64_t n = end - begin;
  points.buffer.resize(std::max(stride_, wide_stride_) + 2 * n);
  float *buffer = points.buffer.data(), *aa = buffer + std::max(stride_, wide_stride_), *hh = aa + n;
  hot_.dots(a_, kFloat32, begin, end, c_, centers_.data() + number * stride_, buffer, aa);
  hot_.dots(h_.data, dtype_, begin, end, h_.cols, wide_centers_.data() + number * wide_stride_, buffer, hh);
  for (int64_t i = begin; i < end; ++i) bound[i] = std::min(bound[i], exact(aa[i - begin], hh[i - begin], i, number));
}

void Gradients::meet(Points& points, int64_t slots, int64_t panel, const float* bounds, uint64_t* hits) const {
  const float *offsets = offsets_.data() + panel * width_, *lengths = lengths_.data() + panel * width_;
  float *narrow = points.narrow.data(), *products = points.products.data();
  for (int64_t slot = 0; slot < slots; ++slot) points.limits[slot] = bounds[slot] - points.norms[slot] + tiny_;
  const float* centers = panels_.data() + panel * c_ * width_;
  hot_.panel_products(points.rows.data(), slots, stride_, centers, c_, narrow);
  hot_.panel_largest(narrow, slots, lengths, points.lengths.data(), products);
  hot_.panel_below(products, slots, offsets, points.limits.data(), hits);
  int64_t needed = 0;
  for (int64_t slot = 0; slot < slots; ++slot) needed += __builtin_popcountll(hits[slot]);
  if (needed * kMany <= slots * width_) return;

  for (int64_t slot = 0; slot < slots; ++slot)
    if (!points.has_wide_row[slot]) {
      float* wide_row = points.wide_rows.data() + slot * wide_stride_;
      hot_.read_row(h_.data, dtype_, points.row_of[slot], h_.cols, nullptr, wide_row);
      points.has_wide_row[slot] = 1;
    }
  const float* wide_centers = wide_panels_.data() + panel * h_.cols * width_;
  hot_.panel_products(points.wide_rows.data(), slots, wide_stride_, wide_centers, h_.cols, points.wide.data());
  hot_.panel_multiply(narrow, points.wide.data(), slots, products);
  hot_.panel_below(products, slots, offsets, points.limits.data(), hits);
}

float Gradients::distance(Points& points, int64_t slot, int64_t number) const {
  const int64_t row = points.row_of[slot];
  const float aa = hot_.product(points.rows.data() + slot * stride_, centers_.data() + number * stride_, c_);
  const float* wide = wide_centers_.data() + number * wide_stride_;
  float hh;
  if (points.has_wide_row[slot])
    hh = hot_.product(points.wide_rows.data() + slot * wide_stride_, wide, h_.cols);
  else
    hot_.dots(h_.data, dtype_, row, row + 1, h_.cols, wide, points.buffer.data(), &hh);
  return exact(aa, hh, row, number);
}

void Gradients::load(int64_t row, std::vector<float>& point) const {
  point.resize(stride_ + wide_stride_);
  hot_.read_row(a_, kFloat32, row, c_, nullptr, point.data());
  hot_.read_row(h_.data, dtype_, row, h_.cols, nullptr, point.data() + stride_);
}

float Gradients::between_loaded(int64_t row, const std::vector<float>& point, int64_t number) const {
  const float aa = hot_.product(point.data(), centers_.data() + number * stride_, c_);
  const float hh = hot_.product(point.data() + stride_, wide_centers_.data() + number * wide_stride_, h_.cols);
  return exact(aa, hh, row, number);
}

void Gradients::Points::reserve(const Gradients& metric, int64_t n) {
  stride = metric.stride_;
  wide_stride = metric.wide_stride_;
  buffer.resize(std::max<size_t>(buffer.size(), std::max(stride, wide_stride)));
  if (static_cast<int64_t>(norms.size()) >= n) return;
  rows.resize(n * stride);
  wide_rows.resize(n * wide_stride);
  for (std::vector<float>* v : {&norms, &lengths, &limits}) v->resize(n);
  for (std::vector<float>* v : {&narrow, &wide, &products}) v->resize(n * metric.width_);
  has_wide_row.resize(n);
  row_of.resize(n);
}

void Gradients::Points::join(const Gradients& metric, int64_t slot, int64_t row) {
  metric.hot_.read_row(metric.a_, kFloat32, row, metric.c_, nullptr, rows.data() + slot * stride);
  norms[slot] = metric.least_norm(row);
  lengths[slot] = metric.row_lengths_[row];
  has_wide_row[slot] = 0;
  row_of[slot] = row;
}

void Gradients::Points::move(int64_t from, int64_t to) {
  std::copy_n(rows.data() + from * stride, stride, rows.data() + to * stride);
  if (has_wide_row[from])
    std::copy_n(wide_rows.data() + from * wide_stride, wide_stride, wide_rows.data() + to * wide_stride);
  norms[to] = norms[from];
  lengths[to] = lengths[from];
  has_wide_row[to] = has_wide_row[from];
  row_of[to] = row_of[from];
}

}  // namespace autoal::cpu
