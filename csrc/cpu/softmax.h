// A row's softmax: its largest numbers, its sums over classes, and what is told from them. By rows in a padded buffer
// where there are many classes; by columns (columns.h) where there are few. What may stand here is said in vector.h.
#pragma once
#include "cpu/columns.h"

namespace {

inline float minus_infinity() { return -__builtin_inff(); }

// What one reading leaves of kLanes rows: the two largest numbers, the lowest class of the largest, and sums,
//   logits: z = sum e^(x - first), s = sum e^(x - first) (x - first);   probs: z = sum p, s = sum p ln p.
// NaN, +inf, a negative p, or no class at all (all -inf) make s (probs: z) NaN.
struct Sums {
  Floats first, second, z, s;
  Ints mode;
};

inline Ints is_distribution(const Sums& r, bool probs, float tolerance) {
  return probs ? (r.z >= 1.0f - tolerance) & (r.z <= 1.0f + tolerance) : r.s <= Floats{};
}

// `scale`: what makes them probabilities, 1 / z of logits.
inline Floats entropy_of(const Sums& r, bool probs, Floats scale) {
  return probs ? -r.s : logarithm(r.z) - r.s * scale;
}

// `bad`, or if that is -1: i + the lowest lane that is not good, if there is one.
inline int64_t lowest_bad(int64_t bad, Ints good, int64_t i) {
  if (bad < 0 && any_lane(~good))
    for (int l = 0; bad < 0; ++l)
      if (!good[l]) bad = i + l;
  return bad;
}

// -inf adds 1e-38 to z and 1e-36 to s, not 0 * inf; NaN stays, and with it s becomes NaN.
inline Floats shifted_logit(Floats x, Floats first) { return maximum(splat(kLowest), x - first); }

// ---------------------------------------------------------------- few classes: kLanes rows at once

// Sums are taken by so many terms a lane, and these sums with their rounding made up for (Kahan), so that it does not
// grow with the number of classes: where classes are much alike, all terms round alike.
constexpr int64_t kTerms = 16;

struct LongSum {
  Floats total = {}, surplus = {};
  void add(Floats v) {
    const Floats lacking = v - surplus, more = total + lacking;
    surplus = (more - total) - lacking;
    total = more;
  }
};

// With kKeep, e^(x - first) is left in the columns [c, kLanes].
template <bool kKeep>
inline Sums sums_of_logits(float* columns, int64_t c) {
  Sums r = {splat(minus_infinity()), splat(minus_infinity()), Floats{}, Floats{}, Ints{}};
  Ints number = {};
  for (int64_t j = 0; j < c; ++j, ++number) {
    const Floats x = load(columns + j * kLanes);
    r.mode = x > r.first ? number : r.mode;
    r.second = maximum(r.second, minimum(r.first, x));
    r.first = maximum(r.first, x);
  }
  LongSum z_sum, s_sum;
  for (int64_t block = 0; block < c; block += kTerms) {
    Floats z = {}, s = {};
    for (int64_t j = block; j < c && j < block + kTerms; ++j) {
      const Floats v = shifted_logit(load(columns + j * kLanes), r.first), e = normal_exponential(v);
      z += e;
      s += e * v;
      if (kKeep) store(columns + j * kLanes, select(v > kLowest, e, Floats{}));
    }
    z_sum.add(z);
    s_sum.add(s);
  }
  r.z = z_sum.total;
  r.s = s_sum.total;
  return r;
}

inline Sums sums_of_probs(const float* columns, int64_t c) {
  Sums r = {};
  Ints negative = {}, number = {};
  for (int64_t j = 0; j < c; ++j, ++number) {
    const Floats p = load(columns + j * kLanes);
    r.mode = p > r.first ? number : r.mode;
    r.second = maximum(r.second, minimum(r.first, p));
    r.first = maximum(r.first, p);
    negative |= p < Floats{};
  }
  LongSum z_sum, s_sum;
  for (int64_t block = 0; block < c; block += kTerms) {
    Floats z = {}, s = {};
    for (int64_t j = block; j < c && j < block + kTerms; ++j) {
      const Floats p = load(columns + j * kLanes);
      z += p;
      s += p_log_p(p);
    }
    z_sum.add(z);
    s_sum.add(s);
  }
  r.z = select(negative, splat(__builtin_nanf("")), z_sum.total);
  r.s = s_sum.total;
  return r;
}

// ---------------------------------------------------------------- many classes: a row in a buffer [padded(c)]

constexpr int64_t kBlock = kTerms * kLanes;

// Two rows in buffers that far apart never share the low bits of their addresses, by which processors tell a load from
// the stores before it.
constexpr int64_t row_spacing(int64_t c) { return (c + 1023) / 1024 * 1024 + 512; }

struct TopTwo {
  float first, second;
};

// Calls f(j, numbers from class j on) for classes [begin, end) of a row; lanes beyond c hold `padding`.
template <class F>
inline __attribute__((always_inline)) void each(const float* row, int64_t begin, int64_t end, int64_t c, float padding,
                                                F f) {
  int64_t j = begin;
  for (; j + kLanes <= c && j < end; j += kLanes) f(j, load(row + j));
  if (j < end && j < c) f(j, first_lanes(load(row + j), c - j, padding));
}

// Of all lanes. No branches: which lane wins is anyone's guess.
inline TopTwo top_two(Floats first, Floats second) {
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {
    const Floats other = swapped(first, distance);
    second = maximum(maximum(second, swapped(second, distance)), minimum(first, other));
    first = maximum(first, other);
  }
  return {first[0], second[0]};
}

inline TopTwo top_two_of(const float* row, int64_t c) {
  Floats first = splat(minus_infinity()), second = first;
  for (int64_t j = 0; j < c; j += kLanes) {
    const Floats x = load(row + j);
    second = maximum(second, minimum(first, x));
    first = maximum(first, x);
  }
  return top_two(first, second);
}

// The lowest position of `value`, 0 if there is none (a row with NaN).
inline int64_t first_equal(const float* row, int64_t c, float value) {
  const int32_t none = 0x7fffffff;
  Ints lowest = Ints{} + none, here = lane_numbers();
  for (int64_t j = 0; j < c; j += kLanes, here += kLanes) {
    const Ints at = load(row + j) == splat(value) ? here : Ints{} + none;
    lowest = at < lowest ? at : lowest;
  }
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {
    const Ints other = swapped(lowest, distance);
    lowest = other < lowest ? other : lowest;
  }
  return lowest[0] < c ? lowest[0] : 0;
}

struct Partition {
  float z, s;  // as in Sums
};

// Of a row that may be read up to padded(c). Calls f(j, e^(x - max) from class j on) on the way.
template <class F>
inline __attribute__((always_inline)) Partition partition(const float* row, int64_t c, float max, F f) {
  LongSum z, s;
  const Floats first = splat(max);
  for (int64_t block = 0; block < c; block += kBlock) {
    Floats block_z = {}, block_s = {};
    each(row, block, block + kBlock, c, minus_infinity(), [&](int64_t j, Floats x) {
      const Floats v = shifted_logit(x, first), e = normal_exponential(v);
      block_z += e;
      block_s += e * v;
      f(j, select(v > kLowest, e, Floats{}));
    });
    z.add(block_z);
    s.add(block_s);
  }
  return {sum(z.total), sum(s.total)};
}

// The same of probs; z is NaN if one is negative. Calls f(j) on the way.
template <class F>
inline __attribute__((always_inline)) Partition partition_of_probs(const float* row, int64_t c, F f) {
  LongSum z, s;
  Ints negative = {};
  for (int64_t block = 0; block < c; block += kBlock) {
    Floats block_z = {}, block_s = {};
    each(row, block, block + kBlock, c, 0.0f, [&](int64_t j, Floats p) {
      negative |= p < Floats{};
      block_z += p;
      block_s += p_log_p(p);
      f(j);
    });
    z.add(block_z);
    s.add(block_s);
  }
  return {any_lane(negative) ? __builtin_nanf("") : sum(z.total), sum(s.total)};
}

inline float entropy_of(const Partition& p, bool probs) { return probs ? -p.s : logarithm(splat(p.z))[0] - p.s / p.z; }

inline bool is_distribution(const Partition& p, bool probs, float tolerance) {
  return probs ? p.z >= 1.0f - tolerance && p.z <= 1.0f + tolerance : p.s <= 0.0f;
}

}  // namespace
