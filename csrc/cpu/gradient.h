// The metric of BADGE: the squared distance of gradients g_i = a_i (x) h_i, which are never formed:
// |g_i - g_j|^2 = |g_i|^2 + |g_j|^2 - 2 <a_i, a_j> <h_i, h_j>. See lazy_bounds.h for what a metric is.
//
// Most centers are ruled out by the narrow factor alone: <h_i, h_j> is at most |h_i| |h_j|. Only panels in which many
// pairs pass that test have the wide products taken too.
#pragma once
#include <cstdint>
#include <vector>

#include "cpu/isa.h"
#include "ops.h"

namespace autoal::cpu {

class Gradients {
 public:
  struct Points {
    std::vector<float> rows, norms, lengths;    // of a; |g|^2 less the slack; |h|
    std::vector<float> wide_rows;               // of h, where has_wide_row[slot]
    std::vector<float> narrow, wide, products;  // of the last panel; of the gradients, or the largest they can be
    std::vector<float> limits, buffer;          // bounds less norms
    std::vector<int64_t> row_of;
    std::vector<char> has_wide_row;
    int64_t stride = 0, wide_stride = 0;

    void reserve(const Gradients& metric, int64_t n);
    void join(const Gradients& metric, int64_t slot, int64_t row);
    void move(int64_t from, int64_t to);
  };

  // What the metric knows of rows [begin, end) of a [N, C], the narrow factors, and of embeddings [N, D], h: norms [N],
  // |g|^2 as products of the factors' squared norms; lengths [N], |h|.
  static void measure(const float* a, int64_t c, const Matrix& embeddings, int64_t begin, int64_t end, float* norms,
                      float* lengths);

  // Of these. At most `most_centers` are added.
  Gradients(const float* a, int64_t c, const float* norms, const float* lengths, const Matrix& embeddings,
            int64_t most_centers);

  int64_t rows() const { return h_.rows; }
  int64_t numbers_per_row() const { return stride_ + wide_stride_; }
  int64_t columns() const { return c_ + h_.cols; }
  int64_t width() const { return width_; }
  int64_t count() const { return count_; }

  void add(int64_t row);
  void prefetch(int64_t row) const { hot_.prefetch_row(a_, 0, row, c_); }
  void cover(int64_t begin, int64_t end, int64_t number, float* bound, Points& points) const;
  void meet(Points& points, int64_t slots, int64_t panel, const float* bounds, uint64_t* hits) const;
  bool might_lower(const Points& points, int64_t slot, int64_t number, float bound) const {
    return offsets_[number] - 2.0f * points.products[slot * width_ + number % width_] <
           bound - points.norms[slot] + tiny_;
  }
  float distance(Points& points, int64_t slot, int64_t number) const;
  void load(int64_t row, std::vector<float>& point) const;
  float between_loaded(int64_t row, const std::vector<float>& point, int64_t number) const;

 private:
  static constexpr int64_t kMany = 8;  // wide products are taken by panel where one pair in so many needs them

  float least_norm(int64_t row) const;  // |g|^2 less what rounding may do to a distance from products
  float exact(float aa, float hh, int64_t row, int64_t number) const;

  const Isa& hot_;
  const float *a_, *norms_, *row_lengths_;
  int64_t c_;
  Matrix h_;
  int dtype_;
  int64_t stride_, wide_stride_, width_, count_ = 0;
  float slack_;                                // relative error of a squared distance that is taken from products
  float tiny_;                                 // what sums may lose where squares are subnormal
  std::vector<int64_t> rows_;                  // [centers]
  std::vector<float> centers_, wide_centers_;  // [centers, stride], [centers, wide stride]
  std::vector<float> panels_, wide_panels_;    // [centers / width, C or D, width]
  std::vector<float> offsets_;                 // [centers / width * width] |g|^2 less the slack; infinity: no center
  std::vector<float> lengths_;                 // [centers / width * width] |h|
};

}  // namespace autoal::cpu
