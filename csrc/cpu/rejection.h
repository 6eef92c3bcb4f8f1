// D^2 sampling from stale weights: exact in law, at a small part of the evaluations.
//
// Rows are proposed with probability proportional to weights w that may be out of date, hence too large, never too
// small; a proposal whose weight is v by now is accepted with probability v / w. Proposals of a batch are drawn from
// weights that stand still, so they are independent of each other, and an accepted one has the law of a plain pass.
// docs/d2_sampling.md has the proof. Nothing here depends on the time or the number of threads.
#pragma once
#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <unordered_map>
#include <vector>

#include "common/rejection.h"
#include "cpu/lazy_bounds.h"
#include "ops.h"

namespace autoal::cpu {

// Sums of the weights of 64 rows and of 64 such sums, taken anew wherever a weight changes: nothing drifts.
class WeightTree {
 public:
  WeightTree(const float* weight, int64_t n) : weight_(weight), n_(n), leaves_(rejection::groups(n)) {
    nodes_.resize(rejection::groups(leaves_.size()));
    before_.resize(nodes_.size());
  }

  void rebuild() {
    parallel_for(static_cast<int64_t>(nodes_.size()), [&](int64_t node) {
      for (int64_t leaf = kGroup * node; leaf < end(node, leaves_.size()); ++leaf) sum_leaf(leaf);
      sum_node(node);
    });
    sum_all();
  }

  void changed(const std::vector<Request>& rows) {
    for (const Request& request : rows) sum_leaf(request.row / kGroup);
    for (const Request& request : rows) sum_node(request.row / (kGroup * kGroup));
    sum_all();
  }

  double total() const { return total_; }

  // The row at `share` in [0, 1) of the total, which must not be 0.
  int64_t find(double share) const {
    double rest = share * total_;
    int64_t node = std::upper_bound(before_.begin(), before_.end(), rest) - before_.begin() - 1;
    while (node > 0 && !(nodes_[node] > 0.0)) --node;  // where rounding lets `rest` outrun the sums
    while (!(nodes_[node] > 0.0)) ++node;
    rest -= before_[node];
    const int64_t leaf = descend(leaves_.data(), leaves_.size(), node, rest);
    const int64_t row = leaf < 0 ? -1 : descend(weight_, n_, leaf, rest);
    if (row < 0) throw std::logic_error("weights changed while they were drawn from");
    return row;
  }

 private:
  static constexpr int64_t kGroup = rejection::kGroup;

  static int64_t end(int64_t group, int64_t n) { return std::min(kGroup * (group + 1), n); }

  // The member of a group that holds `rest`, from which all before it is taken; the last with weight if rounding lets
  // `rest` outrun the sum.
  template <class Number>
  static int64_t descend(const Number* values, int64_t n, int64_t group, double& rest) {
    int64_t last = -1;
    for (int64_t i = kGroup * group; i < end(group, n); ++i) {
      if (!(values[i] > Number{0})) continue;
      last = i;
      if (rest < static_cast<double>(values[i])) break;
      rest -= static_cast<double>(values[i]);
    }
    return last;
  }

  void sum_leaf(int64_t leaf) {
    double s = 0.0;
    for (int64_t i = kGroup * leaf; i < end(leaf, n_); ++i) s += static_cast<double>(weight_[i]);
    leaves_[leaf] = s;
  }
  void sum_node(int64_t node) {
    double s = 0.0;
    for (int64_t i = kGroup * node; i < end(node, leaves_.size()); ++i) s += leaves_[i];
    nodes_[node] = s;
  }
  void sum_all() {
    total_ = 0.0;
    for (size_t node = 0; node < nodes_.size(); ++node) {
      before_[node] = total_;
      total_ += nodes_[node];
    }
  }

  const float* weight_;
  int64_t n_;
  std::vector<double> leaves_, nodes_, before_;  // before: the sum of all earlier nodes
  double total_ = 0.0;
};

// Picks k rows, `first` the first. The metric has no center yet.
template <class Metric>
class RejectionSampler {
 public:
  RejectionSampler(Metric& metric, int64_t first, int64_t k, uint64_t seed, const Selection& out, const Tick& tick)
      : metric_(metric),
        lazy_(metric, tick),
        weight_(metric.rows()),
        tree_(weight_.data(), metric.rows()),
        k_(k),
        seed_(seed),
        out_(out),
        tick_(tick) {
    *out_.filled = 0;
    take(first);
    lazy_.cover_all(0);
    lazy_.set(first, 0.0f);
  }

  // The excluded rows have weight 0, and fill nothing up.
  void run(const int64_t* excluded, int64_t n_excluded) {
    for (int64_t j = 0; j < n_excluded; ++j) lazy_.set(excluded[j], 0.0f);
    settle();
    while (lazy_.picked < k_ && tree_.total() > 0.0) {
      const int64_t picks = metric_.count(), new_centers = picks - known_to_all_;
      if (rejection::refresh_pays(wasted_, in_vain_, metric_.rows(), picks, new_centers, metric_.columns())) {
        lazy_.refresh_all(known_to_all_);
        settle();
      } else {
        batch();
      }
    }
    fill(excluded, n_excluded);
  }

 private:
  struct Proposal {
    int64_t candidate;
    float level;  // the proposal is accepted if the weight is above it by now
  };
  struct Candidate {  // a row that is proposed
    int64_t row;
    float floor;               // the lowest of its levels
    std::vector<float> point;  // its numbers, if they have been needed
  };

  // All bounds are up to date.
  void settle() {
    std::copy_n(lazy_.bound, metric_.rows(), weight_.begin());
    tree_.rebuild();
    known_to_all_ = metric_.count();
    wasted_ = in_vain_ = 0;
  }

  void batch() {
    proposals_.clear();
    candidates_.clear();
    candidate_of_.clear();
    for (int64_t q = 0; q < size_; ++q, ++proposed_) {
      const int64_t row = tree_.find(rejection::row_draw(seed_, proposed_));
      const float level = rejection::level(seed_, proposed_, weight_[row]);
      const auto [found, is_new] = candidate_of_.try_emplace(row, static_cast<int64_t>(candidates_.size()));
      if (is_new) candidates_.push_back({row, level, {}});
      float& floor = candidates_[found->second].floor;
      floor = std::min(floor, level);
      proposals_.push_back({found->second, level});
    }
    requests_.clear();
    for (const Candidate& c : candidates_) requests_.push_back({c.row, c.floor});
    lazy_.refresh(requests_);
    // At or below its floor a row is rejected whatever it has not met yet. That much is certain; the bound depends on
    // how centers were met, so it may tell where to go on, but not be drawn by.
    for (const Candidate& c : candidates_) weight_[c.row] = std::max(lazy_.bound[c.row], c.floor);

    const int64_t known = metric_.count();
    int64_t accepted = 0;
    for (const Proposal& p : proposals_) {
      Candidate& candidate = candidates_[p.candidate];
      float weight = lazy_.bound[candidate.row];
      if (weight > p.level && known < metric_.count()) {  // picks of this batch are new to it
        if (candidate.point.empty()) metric_.load(candidate.row, candidate.point);
        int64_t c = known;
        for (; c < metric_.count() && weight > p.level; ++c)
          weight = std::min(weight, metric_.between_loaded(candidate.row, candidate.point, c));
        counts().alone += c - known;
      }
      if (weight > p.level) {
        take(candidate.row);
        ++accepted;
        if (tick_) tick_(lazy_.picked);
        if (lazy_.picked == k_) return;
      }
    }
    for (int64_t j = lazy_.picked - accepted; j < lazy_.picked; ++j)
      weight_[out_.picks[j]] = lazy_.bound[out_.picks[j]] = 0.0f;
    const int64_t wasted = (size_ - accepted) * rejection::waste(known - known_to_all_, metric_.columns());
    wasted_ += wasted;
    in_vain_ = accepted > 0 ? 0 : in_vain_ + wasted;
    tree_.changed(requests_);
    size_ = rejection::next_size(size_, accepted);
  }

  void take(int64_t row) {
    out_.picks[lazy_.picked++] = row;
    metric_.add(row);
  }

  // Every weight is 0: the rows that are free, in order.
  void fill(const int64_t* excluded, int64_t n_excluded) {
    if (lazy_.picked == k_) return;
    std::vector<bool> taken(metric_.rows(), false);
    for (int64_t j = 0; j < lazy_.picked; ++j) taken[out_.picks[j]] = true;
    for (int64_t j = 0; j < n_excluded; ++j) taken[excluded[j]] = true;
    *out_.filled = k_ - lazy_.picked;
    for (int64_t row = 0; lazy_.picked < k_; ++row)
      if (!taken[row]) out_.picks[lazy_.picked++] = row;
  }

  Metric& metric_;
  LazyBounds<Metric> lazy_;
  std::vector<float> weight_;  // [N] what rows are drawn by: their bounds, or above them floors
  WeightTree tree_;
  int64_t k_;
  uint64_t seed_;
  const Selection& out_;
  const Tick& tick_;
  int64_t size_ = rejection::kSmallest;  // of a batch
  int64_t proposed_ = 0;                 // so far
  int64_t wasted_ = 0;                   // the price of rejected proposals since all rows were brought up to date
  int64_t in_vain_ = 0;                  // of those since the last batch with a pick
  int64_t known_to_all_ = 1;             // the centers that there were then
  std::vector<Proposal> proposals_;
  std::vector<Candidate> candidates_;
  std::vector<Request> requests_;
  std::unordered_map<int64_t, int64_t> candidate_of_;
};

}  // namespace autoal::cpu
