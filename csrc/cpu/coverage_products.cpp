// The part of Coverage that multiplies rows with panels.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "common/counts.h"
#include "common/parallel.h"
#include "cpu/coverage.h"

namespace autoal::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kBlock = 64;  // rows that meet a panel together: they stay in the second-level cache
constexpr int64_t kChunk = 16;  // panels that a block meets in a task

int64_t size_of(const std::vector<int64_t>& v) { return static_cast<int64_t>(v.size()); }

}  // namespace

// Rows that meet panels together, and what comes of it.
struct Coverage::Block {
  Block(const Coverage& coverage, const int64_t* which, int64_t count, bool listing)
      : rows(which),
        n(count),
        points(n * coverage.stride_),
        norms(n),
        k(n * coverage.width_),
        row(coverage.stride_),
        other(coverage.stride_),
        near(n),
        sums(n),
        live(n),
        room(kFlush + coverage.width_),
        found(listing ? n * room : 0),
        counts(n) {
    for (int64_t r = 0; r < n; ++r) {
      coverage.read(rows[r], points.data() + r * coverage.stride_);
      norms[r] = coverage.norms_[rows[r]];
    }
  }

  // What was found for row r goes to its list.
  void flush(LiveLists& lists, int64_t r) {
    lists.append(rows[r], found.data() + r * room, counts[r]);
    counts[r] = 0;
  }

  static constexpr int64_t kFlush = 64;
  const int64_t* rows;
  int64_t n;
  std::vector<float> points, norms, k;     // [n, stride], [n], similarities to a panel [n, width]
  std::vector<float> row, other;           // [stride] as they are in the pool
  std::vector<uint64_t> near, sums, live;  // [n] lanes whose k is to be corrected; gains so far; lanes a row gains by
  int64_t room;
  std::vector<Live> found;      // [n, room]
  std::vector<int64_t> counts;  // [n]
};

// Similarities of a block to a panel of targets, 0 to a row itself where its own worth counts apart.
void Coverage::similar(Block& block, int64_t panel, const float* row_limits) const {
  similar(block, targets_, panel, limits_.data() + panel * width_, row_limits);
  if (!own_) return;
  for (int64_t r = 0; r < block.n; ++r) {
    const int64_t lane = columns_[block.rows[r]] - panel * width_;
    if (lane >= 0 && lane < width_) block.k[r * width_ + lane] = 0.0f;
  }
}

// Similarities of a block to a panel. They are functions of the two rows alone, whichever way they meet, where they are
// above the panel's limit or the row's; else they may be anything that is not.
void Coverage::similar(Block& block, const Panels& panels, int64_t panel, const float* limits,
                       const float* row_limits) const {
  hot_.panel_products(block.points.data(), block.n, stride_, panels.numbers(panel), x_.cols, block.k.data());
  hot_.panel_kernel(block.k.data(), block.n, block.norms.data(), panels.norms(panel), limits, row_limits, gamma_,
                    slack_, block.near.data());
  int64_t near = 0;
  for (int64_t r = 0; r < block.n; ++r) {
    if (block.near[r] == 0) continue;
    correct(block, r, panels.rows().data() + panel * width_);
    near += __builtin_popcountll(block.near[r]);
  }
  if (near > 0) counts().alone += near;
}

// Takes the distances of row r of a block to the near ones of a panel by differences of the rows as they are: products
// cancel, and so does what is left of a row that is small beside the middle.
void Coverage::correct(Block& block, int64_t r, const int64_t* others) const {
  const auto load = [&](int64_t row, std::vector<float>& out) {
    hot_.read_row(x_.data, static_cast<int>(x_.dtype), row, x_.cols, scale_, out.data());
  };
  load(block.rows[r], block.row);
  for (uint64_t lanes = block.near[r]; lanes != 0; lanes &= lanes - 1) {
    const int64_t lane = __builtin_ctzll(lanes);
    load(others[lane], block.other);
    block.k[r * width_ + lane] = std::exp(-gamma_ * hot_.distance(block.row.data(), block.other.data(), x_.cols));
  }
}

void Coverage::gain(Block& block, int64_t panel) const {
  hot_.panel_gains(block.k.data(), block.n, weights_.data() + panel * width_, covered_.data() + panel * width_,
                   units_.magic(), block.sums.data());
}

// Lists what row r of a block gains by, of a panel whose `live` is known.
void Coverage::list(Block& block, int64_t panel, int64_t r) {
  Live* found = block.found.data() + r * block.room;
  for (uint64_t lanes = block.live[r]; lanes != 0; lanes &= lanes - 1) {
    const int64_t lane = __builtin_ctzll(lanes);
    found[block.counts[r]++] = {static_cast<int32_t>(panel * width_ + lane), block.k[r * width_ + lane]};
  }
  if (block.counts[r] >= Block::kFlush) block.flush(lists_, r);
}

void Coverage::dense_sums(const std::vector<int64_t>& rows, uint64_t* out, bool probe) {
  const int64_t n = size_of(rows), chunks = chunks_of(targets_.count(), kChunk);
  const bool listing = !plain_ && (probe || worth_listing());
  const std::vector<float> no_limits(kBlock, kInfinity);
  std::vector<std::atomic<uint64_t>> sums(n);
  std::atomic<int64_t> live{0};
  counts().in_panels += n * targets_.size();
  in_parts(chunks_of(n, kBlock) * chunks, kBlock * kChunk * width_ * x_.cols, [&](int64_t task) {
    const int64_t from = task / chunks * kBlock, chunk = task % chunks;
    Block block(*this, rows.data() + from, std::min(kBlock, n - from), listing);
    int64_t entries = 0;
    for (int64_t panel = chunk * kChunk; panel < std::min(targets_.count(), (chunk + 1) * kChunk); ++panel) {
      similar(block, panel, no_limits.data());
      gain(block, panel);
      if (!listing) continue;
      hot_.panel_live(block.k.data(), block.n, covered_.data() + panel * width_, block.live.data());
      for (int64_t r = 0; r < block.n; ++r) {
        entries += __builtin_popcountll(block.live[r]);
        list(block, panel, r);
      }
    }
    for (int64_t r = 0; r < block.n; ++r) {
      sums[from + r].fetch_add(block.sums[r], std::memory_order_relaxed);
      if (listing) block.flush(lists_, r);
    }
    live += entries;
    if (own_ && chunk == 0) cover_rows(block);
  });
  bool full = false;
  for (int64_t r = 0; r < n; ++r) {
    out[r] = sums[r];
    full |= listing && !lists_.finish(rows[r]);
  }
  if (probe) {
    share_ = static_cast<double>(live) / static_cast<double>(n * targets_.size());
    share_at_ = picked_;
  }
  if (full) make_room();
}

// Sums of rows that are targets, which takes those of all: each similarity is worth something to both of its rows.
void Coverage::symmetric_sums(const std::vector<int64_t>& rows, uint64_t* out) {
  const int64_t panels = (kBlock + width_ - 1) / width_, block_rows = panels * width_;
  const int64_t chunks = chunks_of(targets_.count(), kChunk);
  const bool listing = worth_listing() && fit(size_of(rows));
  std::vector<std::atomic<uint64_t>> sums(targets_.count() * width_);
  std::vector<char> listed(sums.size(), false);
  for (const int64_t row : rows) listed[columns_[row]] = listing;
  in_parts(chunks_of(targets_.count(), panels) * chunks, block_rows * kChunk * width_ * x_.cols, [&](int64_t task) {
    const int64_t first = task / chunks * panels, chunk = task % chunks, from = first * width_;
    const int64_t last = std::min(targets_.count(), (chunk + 1) * kChunk);
    if (first >= last) return;
    Block block(*this, targets_.rows().data() + from, std::min(block_rows, targets_.size() - from), listing);
    std::vector<uint64_t> back(width_);
    std::vector<Live> found(block.n * width_);
    std::vector<int64_t> found_count(width_);
    for (int64_t panel = std::max(first, chunk * kChunk); panel < last; ++panel) {
      const int64_t t = panel * width_;
      counts().in_panels += block.n * std::min(width_, targets_.size() - t);
      similar(block, panel, limits_.data() + from);
      gain(block, panel);
      if (listing) {
        hot_.panel_live(block.k.data(), block.n, covered_.data() + t, block.live.data());
        for (int64_t r = 0; r < block.n; ++r)
          if (listed[from + r]) list(block, panel, r);
      }
      if (panel < first + panels) continue;  // the panel's rows are of this block: they meet both ways
      std::fill(back.begin(), back.end(), 0);
      hot_.panel_gains_back(block.k.data(), block.n, weights_.data() + from, covered_.data() + from, units_.magic(),
                            back.data());
      for (int64_t l = 0; l < width_; ++l) sums[t + l].fetch_add(back[l], std::memory_order_relaxed);
      if (!listing) continue;
      hot_.panel_live_back(block.k.data(), block.n, covered_.data() + from, block.live.data());
      std::fill(found_count.begin(), found_count.end(), 0);
      for (int64_t r = 0; r < block.n; ++r)
        for (uint64_t lanes = block.live[r]; lanes != 0; lanes &= lanes - 1) {
          const int64_t lane = __builtin_ctzll(lanes);
          found[lane * block.n + found_count[lane]++] = {static_cast<int32_t>(from + r), block.k[r * width_ + lane]};
        }
      for (int64_t lane = 0; lane < width_; ++lane)
        if (listed[t + lane])
          lists_.append(targets_.rows()[t + lane], found.data() + lane * block.n, found_count[lane]);
    }
    for (int64_t r = 0; r < block.n; ++r) {
      sums[from + r].fetch_add(block.sums[r], std::memory_order_relaxed);
      if (listed[from + r]) block.flush(lists_, r);
    }
  });
  for (size_t i = 0; i < rows.size(); ++i) {
    out[i] = sums[columns_[rows[i]]];
    if (listing) lists_.finish(rows[i]);
  }
}

void Coverage::cover_rows(const std::vector<int64_t>& rows) {
  const int64_t n = size_of(rows);
  parallel_for(chunks_of(n, kBlock), [&](int64_t chunk) {
    Block block(*this, rows.data() + chunk * kBlock, std::min(kBlock, n - chunk * kBlock), false);
    cover_rows(block);
  });
}

// Rows meet the picks that they have not met.
void Coverage::cover_rows(Block& block) {
  const std::vector<float> no_limits(std::max(width_, block.n), -kInfinity);
  int64_t first = picks_.size();
  for (int64_t r = 0; r < block.n; ++r) first = std::min<int64_t>(first, seen_[block.rows[r]]);
  counts().in_panels += block.n * (picks_.size() - first / width_ * width_);
  for (int64_t panel = first / width_; panel < picks_.count(); ++panel) {
    similar(block, picks_, panel, no_limits.data(), no_limits.data());
    for (int64_t r = 0; r < block.n; ++r) {
      const float* k = block.k.data() + r * width_;
      covered_rows_[block.rows[r]] = std::max(covered_rows_[block.rows[r]], *std::max_element(k, k + width_));
    }
  }
  for (int64_t r = 0; r < block.n; ++r) seen_[block.rows[r]] = static_cast<int32_t>(picks_.size());
}

void Coverage::add_pick(int64_t row) {
  const Block block(*this, &row, 1, false);
  picks_.add(block.points.data(), norms_[row], row);
  if (columns_[row] >= 0) cover_target(columns_[row], 1.0f);
}

void Coverage::cover_targets(int64_t row) {
  counts().in_panels += targets_.size();
  parallel_for(chunks_of(targets_.count(), kChunk), [&](int64_t chunk) {
    Block block(*this, &row, 1, false);
    for (int64_t panel = chunk * kChunk; panel < std::min(targets_.count(), (chunk + 1) * kChunk); ++panel) {
      similar(block, panel, &kInfinity);
      for (int64_t lane = 0; lane < width_; ++lane) cover_target(panel * width_ + lane, block.k[lane]);
    }
  });
}

}  // namespace autoal::cpu
