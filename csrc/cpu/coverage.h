// How well targets are covered, and what rows would add: coverage_greedy but for the order of its picks.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "cpu/isa.h"
#include "cpu/live_lists.h"
#include "cpu/panels.h"
#include "ops.h"

namespace autoal::cpu {

// Sums in whole units, which do not depend on the order of their terms. A unit is so small that terms up to `largest`
// stay below 2^51 and sums up to `total` below 2^62 of them.
class Units {
 public:
  explicit Units(double largest = 0.0, double total = 0.0);
  double magic() const { return magic_; }  // adding it leaves a term, in units, in the low bits
  uint64_t of(float term) const;
  double value(uint64_t units) const { return static_cast<double>(units) * unit_; }

 private:
  double unit_, magic_;
};

class Coverage {
 public:
  // `plain`: computes each gain from the rows alone.
  Coverage(const Matrix& x, const float* scale, const Targets& targets, const float* gain, const float* covered,
           float gamma, int64_t k, bool plain, int64_t memory, const Tick& tick);

  int64_t picked() const { return picked_; }
  // Whether a gain of this row costs no products.
  bool listed(int64_t row) const { return !plain_ && lists_.has(row); }
  // Whether to compute all gains now, which costs half as much for each: where `done` did not decide this pick, and
  // `needed` seem to be, or where at the rate so far more would be computed by the last pick.
  bool better_at_once(int64_t done, const std::function<int64_t()>& needed, int64_t picks_left) const;
  // How many gains are best computed together, at most: all where that saves products, else what needs little memory.
  int64_t most_together() const { return symmetric_ ? x_.rows : kSlab; }
  // Gains of rows as they are now.
  void gains(const std::vector<int64_t>& rows, float* out);
  // Makes the row a pick.
  void cover(int64_t row);
  // Takes a smaller unit where all that is left to gain has become so little that few digits tell it. Returns whether:
  // gains in the old unit are then no bounds any more, not even those of 0.
  bool refine();

 private:
  static constexpr int64_t kSlab = 1 << 16;

  struct Block;

  void add_targets(const Targets& targets, const float* covered);
  float left(int64_t target) const { return weights_[target] * (1.0f - covered_[target]); }
  bool choose_units();
  std::vector<float> middle() const;
  std::vector<float> norms() const;
  void read(int64_t row, float* out) const;
  void in_parts(int64_t tasks, int64_t work, const std::function<void(int64_t)>& task) const;

  double share() const;
  bool worth_listing() const;
  bool fit(int64_t lists) const;
  void make_room();

  void similar(Block& block, int64_t panel, const float* row_limits) const;
  void similar(Block& block, const Panels& panels, int64_t panel, const float* limits, const float* row_limits) const;
  void correct(Block& block, int64_t r, const int64_t* others) const;
  void gain(Block& block, int64_t panel) const;
  void list(Block& block, int64_t panel, int64_t r);
  void dense_sums(const std::vector<int64_t>& rows, uint64_t* out, bool probe);
  void symmetric_sums(const std::vector<int64_t>& rows, uint64_t* out);
  void list_sums(const std::vector<int64_t>& rows, uint64_t* out);
  uint64_t list_sum(int64_t row);
  void shrink(int64_t row);
  void cover_rows(const std::vector<int64_t>& rows);
  void cover_rows(Block& block);
  void add_pick(int64_t row);
  void cover_targets(int64_t row);
  void cover_target(int64_t target, float k);

  const Isa& hot_;
  Matrix x_;
  const float *scale_, *gain_, *own_;
  float gamma_;
  bool plain_;
  int64_t width_, stride_;  // of a panel, of a row
  float slack_;             // what a squared distance by products is off by at most, as a share of both norms
  const Tick& tick_;
  int64_t picked_ = 0;
  std::vector<float> middle_;  // [D]
  std::vector<float> norms_;   // [N] |x - middle|^2 / 2: a sum of two of them does not overflow

  // Of the targets, padded to whole panels.
  Panels targets_;
  Units units_;
  int64_t heavy_ = 0;             // no target before it has many units left
  std::vector<int32_t> columns_;  // [N] which target a row is, or -1
  bool symmetric_ = false;        // whether many rows are targets, and any like others
  std::vector<float> weights_, covered_, limits_;

  // Where rows have own worth.
  Panels picks_;
  std::vector<float> covered_rows_;  // [N] m of a row by the picks it has met
  std::vector<int32_t> seen_;        // [N] how many picks that is

  LiveLists lists_;
  std::vector<float> last_;  // [N] gains when they were last computed
  double share_ = 1.0;       // of the targets that rows gained by, after `share_at_` picks
  int64_t share_at_ = 0;
  int64_t room_made_ = -1;           // after so many picks
  int64_t alone_ = 0, at_once_ = 0;  // gains computed since all were, after so many picks
};

}  // namespace autoal::cpu
