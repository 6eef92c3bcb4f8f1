// Rows side by side, for products with many at once.
#pragma once
#include <cstdint>
#include <limits>
#include <vector>

#include "cpu/isa.h"

namespace autoal::cpu {

// `width` rows to a panel; those not there yet have an infinite norm, and with it similarity 0 to any row.
class Panels {
 public:
  Panels(int64_t most, int64_t d) : hot_(isa()), width_(hot_.panel_width()), d_(d) {
    numbers_.reserve((most + width_ - 1) / width_ * width_ * d);
    norms_.reserve((most + width_ - 1) / width_ * width_);
    rows_.reserve(most);
  }

  int64_t size() const { return size_; }
  int64_t count() const { return (size_ + width_ - 1) / width_; }
  const float* numbers(int64_t panel) const { return numbers_.data() + panel * width_ * d_; }
  const float* norms(int64_t panel) const { return norms_.data() + panel * width_; }
  const std::vector<int64_t>& rows() const { return rows_; }  // [size()] which rows these are

  // `numbers` [d] of a row, its norm, and which it is.
  void add(const float* numbers, float norm, int64_t row) {
    const int64_t panel = size_ / width_, lane = size_ % width_;
    if (lane == 0) {
      numbers_.resize((panel + 1) * width_ * d_, 0.0f);
      norms_.resize((panel + 1) * width_, std::numeric_limits<float>::infinity());
    }
    hot_.panel_set(numbers_.data() + panel * width_ * d_, lane, numbers, d_);
    norms_[size_++] = norm;
    rows_.push_back(row);
  }

 private:
  const Isa& hot_;
  int64_t width_, d_, size_ = 0;
  std::vector<float> numbers_, norms_;  // [panels, D, width], [panels, width]
  std::vector<int64_t> rows_;
};

}  // namespace autoal::cpu
