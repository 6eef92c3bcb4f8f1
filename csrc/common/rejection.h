// The rules of D^2 sampling from stale weights that all backends go by: they draw the same rows, wherever sums are
// exact in float32. docs/d2_sampling.md has the algorithm and the proof; rules may depend on the past, never on the
// time, the number of threads or draws to come.
#pragma once
#include <cstdint>

#include "common/random.h"
#include "ops.h"

namespace autoal::rejection {

constexpr int64_t kSmallest = 64, kLargest = 1024;  // proposals of a batch
constexpr int64_t kGroup = 64;                      // weights are summed by so many (leaves), and these again (nodes)

// Prices, in numbers multiplied: of a proposal (drawn and read at random), and of a row when all are brought up to
// date (in order), besides its evaluations.
constexpr int64_t kPerProposal = 1 << 14, kPerRow = 1 << 9;

AUTOAL_HOST_DEVICE inline int64_t groups(int64_t n) { return (n + kGroup - 1) / kGroup; }

// Of evaluations of rows of so many numbers.
AUTOAL_HOST_DEVICE inline int64_t price(int64_t evaluations, int64_t numbers) { return evaluations * (numbers + 16); }

// Of a rejected proposal; `new_centers` is how many there are since all rows were brought up to date. Which of them its
// row has met depends on how centers were met.
AUTOAL_HOST_DEVICE inline int64_t waste(int64_t new_centers, int64_t numbers) {
  return kPerProposal + price(new_centers, numbers);
}

// Whether all rows are to be brought up to date: where what was wasted since the last time is what doing it again
// takes, or, as there may be nothing left to pick, what was wasted since the last pick is a quarter of plain passes so
// far.
AUTOAL_HOST_DEVICE inline bool refresh_pays(int64_t wasted, int64_t in_vain, int64_t rows, int64_t picks,
                                            int64_t new_centers, int64_t numbers) {
  if (new_centers == 0) return false;
  return wasted > rows * (kPerRow + price(new_centers, numbers)) || in_vain > rows * price(picks, numbers) / 4;
}

// Of the batch that follows one of this size.
AUTOAL_HOST_DEVICE inline int64_t next_size(int64_t size, int64_t accepted) {
  if (4 * accepted < size) return 2 * size < kLargest ? 2 * size : kLargest;
  if (2 * accepted > size) return size / 2 > kSmallest ? size / 2 : kSmallest;
  return size;
}

// Draws number 1, 2: the row and the level of the first proposal; 3, 4: of the second; and so on. Draw 0 is the first
// pick's.
AUTOAL_HOST_DEVICE inline double row_draw(uint64_t seed, int64_t proposal) {
  return uniform(seed, static_cast<uint64_t>(2 * proposal + 1));
}

// A proposal is accepted if its weight is above this by now.
AUTOAL_HOST_DEVICE inline float level(uint64_t seed, int64_t proposal, float weight) {
  return static_cast<float>(uniform(seed, static_cast<uint64_t>(2 * proposal + 2)) * static_cast<double>(weight));
}

}  // namespace autoal::rejection
