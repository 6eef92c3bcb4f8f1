// Which targets rows still gain by, and how similar they are: kept for rows that were looked at, in pages of a memory
// that is bounded.
#pragma once
#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

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

  // Calls use(target, k) for each entry.
  template <class Use>
  void visit(int64_t row, const Use& use) const {
    for (int32_t number = first_[row]; number != kNone;) {
      const Page& page = at(number);
      number = page.next;
      if (number != kNone) prefetch(at(number));  // pages of a list lie anywhere
      const int64_t high = static_cast<int64_t>(page.high) << 16;
      for (int32_t i = 0; i < page.size; ++i) use(high | page.low[i], page.k[i]);
    }
  }

  // Keeps the entries for which keep(target, k) is true. Of different rows from many threads.
  template <class Keep>
  void shrink(int64_t row, const Keep& keep) {
    Page* to = &at(last_[row] = first_[row]);
    int32_t filled = 0;
    for (int32_t number = first_[row]; number != kNone;) {
      const Page& from = at(number);
      const int32_t size = from.size;
      const uint16_t high = from.high;
      number = from.next;
      for (int32_t i = 0; i < size; ++i) {
        const uint16_t low = from.low[i];
        const float k = from.k[i];
        if (!keep(static_cast<int64_t>(high) << 16 | low, k)) continue;
        if (filled == kEntries || (filled > 0 && to->high != high)) {  // never ahead of what is read
          to->size = static_cast<uint16_t>(filled);
          to = &at(last_[row] = to->next);
          filled = 0;
        }
        to->high = high;
        to->low[filled] = low;
        to->k[filled++] = k;
      }
    }
    to->size = static_cast<uint16_t>(filled);
    if (to->next != kNone) give(to->next);
    to->next = kNone;
  }

 private:
  static constexpr int32_t kNone = -1, kLost = -2;
  static constexpr int32_t kEntries = 41;
  static constexpr int64_t kBlock = 1 << 13, kLocks = 64;  // a block is as large as the processor's large pages

  struct Page {
    int32_t next;
    uint16_t size, high;  // of the targets' numbers, the half that all entries share
    uint16_t low[kEntries];
    float k[kEntries];
  };

  struct Free {
    void operator()(Page* block) const { std::free(block); }
  };

  Page& at(int32_t page) { return blocks_[page / kBlock][page % kBlock]; }
  const Page& at(int32_t page) const { return blocks_[page / kBlock][page % kBlock]; }
  static void prefetch(const Page& page) {
    for (size_t line = 0; line < sizeof page; line += 64)
      __builtin_prefetch(reinterpret_cast<const char*>(&page) + line);
  }

  int32_t take() {
    std::lock_guard<std::mutex> guard(lock_);
    if (!free_.empty()) {
      const int32_t page = free_.back();
      free_.pop_back();
      return page;
    }
    if (pages_ == most_) return kNone;
    if (pages_ % kBlock == 0) blocks_[pages_ / kBlock].reset(new_block());
    return static_cast<int32_t>(pages_++);
  }
  static Page* new_block() {
    constexpr size_t kBytes = kBlock * sizeof(Page);
    void* block = std::aligned_alloc(kBytes, kBytes);
    if (!block) throw std::bad_alloc();
#if defined(__linux__)
    madvise(block, kBytes, MADV_HUGEPAGE);  // lists lie scattered: small pages cost as much as the sums; may be refused
#endif
    return static_cast<Page*>(block);
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
  std::vector<std::unique_ptr<Page[], Free>> blocks_;
  std::vector<int32_t> free_;
  std::mutex lock_;
  std::array<std::mutex, kLocks> locks_;
};

}  // namespace autoal::cpu
