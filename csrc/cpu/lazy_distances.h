// Upper bounds on the squared distance of rows to their nearest center, brought up to date only for the rows that
// somebody asks about. A distance to a growing set of centers only falls, so a stale one is an upper bound.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "cpu/isa.h"
#include "ops.h"

namespace autoal::cpu {

class LazyDistances {
 public:
  // x: rows, scaled by scale [N] or nullptr; at most `most_centers` are added.
  LazyDistances(const Matrix& x, const float* scale, int64_t most_centers);
  ~LazyDistances();

  // Makes the row a center. No bound changes.
  void add(int64_t row);
  int64_t centers() const { return count_; }
  const float* center(int64_t number) const { return center_rows_.data() + number * stride_; }  // [stride()]
  int64_t stride() const { return stride_; }

  // Lowers the bounds of all rows by the newest center, which must be the only one that they do not know; one pass.
  void cover_all();

  // Brings bounds up to date, on all threads. A row whose bound falls to `floor` or below is left as it is then: still
  // an upper bound. rows [n]: all different.
  void refresh(const int64_t* rows, int64_t n, float floor);

  // Row i as floats [stride()].
  void read_row(int64_t i, float* out) const;

  // The bound of row i, when it is known to be up to date with all centers.
  void set(int64_t i, float value) {
    bound[i] = value;
    seen_[i] = static_cast<int32_t>(count_);
  }

  std::vector<float> bound;  // [N]
  int64_t evaluations = 0;   // distances asked for so far

 private:
  struct Scratch;  // of one block
  void refresh_block(const int64_t* rows, int64_t n, float floor, Scratch& scratch);
  void lower_by_one(int64_t row, int64_t center, float* buffer);

  const Isa& hot_;
  Matrix x_;
  const float* scale_;
  int dtype_;
  int64_t stride_, width_, count_ = 0;
  float slack_;                     // relative error of a squared distance that is taken from products
  std::vector<int32_t> seen_;       // [N] the row knows of the first so many centers
  std::vector<float> center_rows_;  // [centers, stride]
  std::vector<float> panels_;       // [centers / width, D, width]
  std::vector<int64_t> order_;
  std::mutex scratch_mutex_;
  std::vector<std::unique_ptr<Scratch>> scratch_;  // those not in use
  std::vector<float> panel_offset_;                // [centers / width, width] |c|^2 less the slack; infinity: no center
};

}  // namespace autoal::cpu
