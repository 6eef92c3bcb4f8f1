// The metric of k-center greedy and k-means++: squared Euclidean distance. See lazy_bounds.h for what a metric is.
#pragma once
#include <cstdint>
#include <vector>

#include "cpu/isa.h"
#include "ops.h"

namespace autoal::cpu {

class Euclidean {
 public:
  struct Points {
    std::vector<float> rows, norms, products, buffer;  // norms: |x|^2 less the slack
    int64_t stride = 0;

    void reserve(const Euclidean& metric, int64_t n);
    void join(const Euclidean& metric, int64_t slot, int64_t row);
    void move(int64_t from, int64_t to);
  };

  // x: rows, scaled by scale [N] or nullptr; at most `most_centers` are added.
  Euclidean(const Matrix& x, const float* scale, int64_t most_centers);

  int64_t rows() const { return x_.rows; }
  int64_t numbers_per_row() const { return stride_; }
  int64_t columns() const { return x_.cols; }
  int64_t width() const { return width_; }
  int64_t count() const { return count_; }
  int64_t stride() const { return stride_; }
  const float* center(int64_t number) const { return centers_.data() + number * stride_; }  // [stride()]

  void add(int64_t row);
  void add_point(const float* point);  // [columns()], from elsewhere
  void read(int64_t row, float* out) const { hot_.read_row(x_.data, dtype_, row, x_.cols, scale_, out); }
  void prefetch(int64_t row) const { hot_.prefetch_row(x_.data, dtype_, row, x_.cols); }
  float between(const float* point, int64_t number) const { return hot_.distance(point, center(number), x_.cols); }
  void load(int64_t row, std::vector<float>& point) const {
    point.resize(stride_);
    read(row, point.data());
  }
  float between_loaded(int64_t, const std::vector<float>& point, int64_t number) const {
    return between(point.data(), number);
  }

  void cover(int64_t begin, int64_t end, int64_t number, float* bound, Points& points) const;
  void meet(Points& points, int64_t slots, int64_t panel, const float* bounds, uint64_t* hits) const;
  bool might_lower(const Points& points, int64_t slot, int64_t number, float bound) const {
    return offsets_[number] - 2.0f * points.products[slot * width_ + number % width_] <
           bound - points.norms[slot] + tiny_;
  }
  float distance(const Points& points, int64_t slot, int64_t number) const {
    return between(points.rows.data() + slot * stride_, number);
  }

 private:
  float* new_center();
  void place_new_center();

  const Isa& hot_;
  Matrix x_;
  const float* scale_;
  int dtype_;
  int64_t stride_, width_, count_ = 0;
  float slack_;                 // relative error of a squared distance that is taken from products
  float tiny_;                  // what sums may lose where squares are subnormal
  std::vector<float> centers_;  // [centers, stride]
  std::vector<float> panels_;   // [centers / width, D, width]
  std::vector<float> offsets_;  // [centers / width * width] |c|^2 less the slack; infinity where there is no center
};

}  // namespace autoal::cpu
