// Which targets rows still gain by, and how similar they are: kept for rows that were looked at, in pages of a memory
// that is bounded.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace autoal::cpu {

// A target and its similarity to the row that lists it.
struct Live {
  int32_t target;
  float k;
};

// A list only ever shrinks: a target that is covered better than a row could is of no use to it any more. Its order is
// that in which threads came, so nothing may depend on it.
class LiveLists {
 public:
  LiveLists(int64_t rows, int64_t bytes)
      : first_(rows, kNone), last_(rows, kNone), most_(bytes / static_cast<int64_t>(sizeof(Page))) {
    blocks_.resize((most_ + kBlock - 1) / kBlock);
  }

  bool has(int64_t row) const { return first_[row] >= 0; }
  int64_t most() const { return most_ * kEntries; }
  // How many entries there is room for, at least.
  int64_t room() const { return (most_ - pages_ + static_cast<int64_t>(free_.size())) * kEntries; }

  // Adds to the list of a row that is not finished yet; safe from many threads. A list that finds no room is lost.
  void append(int64_t row, const Live* live, int64_t n) {
    std::lock_guard<std::mutex> guard(locks_[row % kLocks]);
    if (first_[row] == kLost) return;
    for (int64_t i = 0; i < n; ++i) {
      Page* page = last_[row] == kNone ? nullptr : &at(last_[row]);
      const auto high = static_cast<uint16_t>(live[i].target >> 16);
      if (!page || page->size == kEntries || page->high != high) {
        const int32_t next = take();
        if (next == kNone) return lose(row);
        (page ? page->next : first_[row]) = next;
        last_[row] = next;
        page = &at(next);
        page->next = kNone;
        page->size = 0;
        page->high = high;
      }
      page->low[page->size] = static_cast<uint16_t>(live[i].target);
      page->k[page->size++] = live[i].k;
    }
  }

  // Ends what was appended. Returns whether the row has a list now.
  bool finish(int64_t row) {
    if (first_[row] == kLost) {
      first_[row] = kNone;
      return false;
    }
    if (first_[row] == kNone && (first_[row] = last_[row] = take()) != kNone) at(first_[row]) = {kNone, 0, 0, {}, {}};
    return has(row);
  }

  void drop(int64_t row) {
    if (!has(row)) return;
    give(first_[row]);
    first_[row] = last_[row] = kNone;
  }

  // Calls use(target, k) for each entry and keeps those for which it is true; from many threads for different rows.
  template <class Use>
  void shrink(int64_t row, const Use& use) {
    int32_t to = first_[row];
    int32_t filled = 0;
    uint16_t high = at(to).high;
    for (int32_t from = to; from != kNone;) {
      const Page& page = at(from);
      const int32_t size = page.size, next = page.next;
      const uint16_t its = page.high;
      for (int32_t i = 0; i < size; ++i) {
        const uint16_t low = page.low[i];
        const float k = page.k[i];
        if (!use(static_cast<int64_t>(its) << 16 | low, k)) continue;
        if (filled == kEntries || its != high) {
          if (filled > 0) {
            at(to).size = static_cast<uint16_t>(filled);
            to = at(to).next;
          }
          filled = 0;
          high = its;
        }
        Page& page_to = at(to);
        page_to.low[filled] = low;
        page_to.k[filled++] = k;
        page_to.high = high;
      }
      from = next;
    }
    at(to).size = static_cast<uint16_t>(filled);
    if (at(to).next != kNone) give(at(to).next);
    at(to).next = kNone;
    last_[row] = to;
  }

 private:
  static constexpr int32_t kNone = -1, kLost = -2;
  static constexpr int32_t kEntries = 41;
  static constexpr int64_t kBlock = 1 << 12, kLocks = 64;

  struct Page {
    int32_t next;
    uint16_t size, high;  // of the targets' numbers, the half that all entries share
    uint16_t low[kEntries];
    float k[kEntries];
  };

  Page& at(int32_t page) { return blocks_[page / kBlock][page % kBlock]; }

  int32_t take() {
    std::lock_guard<std::mutex> guard(lock_);
    if (!free_.empty()) {
      const int32_t page = free_.back();
      free_.pop_back();
      return page;
    }
    if (pages_ == most_) return kNone;
    if (pages_ % kBlock == 0) blocks_[pages_ / kBlock].reset(new Page[kBlock]);
    return static_cast<int32_t>(pages_++);
  }
  void give(int32_t page) {
    std::lock_guard<std::mutex> guard(lock_);
    for (; page != kNone; page = at(page).next) free_.push_back(page);
  }
  void lose(int64_t row) {
    if (first_[row] != kNone) give(first_[row]);
    first_[row] = kLost;
    last_[row] = kNone;
  }

  std::vector<int32_t> first_, last_;  // [N] pages
  int64_t most_, pages_ = 0;
  std::vector<std::unique_ptr<Page[]>> blocks_;
  std::vector<int32_t> free_;
  std::mutex lock_;
  std::array<std::mutex, kLocks> locks_;
};

}  // namespace autoal::cpu
