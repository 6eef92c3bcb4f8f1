// Entropy, margin, least confidence, and BADGE's residuals; compiled once per instruction set. See vector.h for what
// may not stand here. A row is read from memory once, into a buffer that stays in the cache.
#include "cpu/softmax.h"

namespace {

struct Scores {
  float *entropy, *margin, *least_confidence;
};

// The scores of `count` rows from i on. Gives `bad`, or if that is -1 the lowest of them that is no distribution.
inline int64_t write_scores(const Sums& r, bool probs, float tolerance, int64_t i, int64_t count, const Scores& out,
                            int64_t bad) {
  const Floats best = probs ? r.first : 1.0f / r.z;
  const Floats next = probs ? r.second : exponential(r.second - r.first) * best;
  store_lanes(out.entropy + i, maximum(entropy_of(r, probs, best), Floats{}), count);
  store_lanes(out.margin + i, 1.0f - (best - next), count);
  store_lanes(out.least_confidence + i, 1.0f - best, count);
  return lowest_bad(bad, is_distribution(r, probs, tolerance), i);
}

template <class Number>
int64_t scores_of_few(const Number* x, bool probs, float tolerance, int64_t begin, int64_t end, int64_t c,
                      float* columns, const Scores& out) {
  int64_t bad = -1;
  for (int64_t i = begin; i < end; i += kLanes) {
    const int64_t count = end - i < kLanes ? end - i : kLanes;
    const Number* rows = x + i * c;
    prefetch_ahead(rows, count * c);
    read_columns(rows, c, count, c, columns, kLanes);
    const Sums r = probs ? sums_of_probs(columns, c) : sums_of_logits<false>(columns, c);
    bad = write_scores(r, probs, tolerance, i, count, out, bad);
  }
  return bad;
}

inline const float* in_place(const float* row) { return row; }
template <class Number>
inline const float* in_place(const Number*) {
  return nullptr;
}

// A row that may not be read up to padded(c), where it may.
template <class Number>
inline const Number* copied(const Number* row, int64_t c, float* buffer) {
  __builtin_memcpy(buffer, row, c * sizeof *row);
  return reinterpret_cast<const Number*>(buffer);
}

// A row on its way from memory, vector by vector, in order: floats stay where they are, halves are left in `buffer` as
// floats. Where less than padded(c) may be read, a row goes to the buffer beforehand.
template <class Number>
struct Arriving {
  const Number* row;
  float* buffer;
  int64_t c;
  float padding;
  Floats first = splat(minus_infinity()), second = first;

  const float* floats() const { return in_place(row) ? in_place(row) : buffer; }

  // In two branches, so that whole vectors are not masked too.
  inline __attribute__((always_inline)) void take(int64_t j) {
    prefetch_ahead(row + j, kLanes);
    if (j + kLanes <= c)
      take(j, load(row + j));
    else
      take(j, first_lanes(load(row + j), c - j, padding));
  }
  inline __attribute__((always_inline)) void take(int64_t j, Floats x) {
    if (!in_place(row)) store(buffer + j, x);
    second = maximum(second, minimum(first, x));
    first = maximum(first, x);
  }
};

// While the exponentials of one row are summed, the next one arrives: neither alone keeps all units busy.
template <class Number>
int64_t scores_of_many(const Number* x, bool probs, float tolerance, int64_t begin, int64_t end, int64_t c,
                       float* buffer, const Scores& out) {
  int64_t bad = -1;
  const float padding = probs ? 0.0f : minus_infinity();
  const auto arriving = [&](int64_t i) {
    const Number* row = x + i * c;
    if ((end - i) * c < padded(c)) row = copied(row, c, buffer + 2 * row_spacing(c));
    return Arriving<Number>{row, buffer + (i & 1) * row_spacing(c), c, padding};
  };
  Arriving<Number> row = arriving(begin);
  for (int64_t j = 0; j < c; j += kLanes) row.take(j);
  for (int64_t i = begin; i < end; i += kLanes) {
    const int64_t count = end - i < kLanes ? end - i : kLanes;
    float first[kLanes] = {}, second[kLanes] = {}, z[kLanes], s[kLanes] = {};
    for (float& v : z) v = 1.0f;  // lanes without a row are good
    for (int64_t l = 0; l < count; ++l) {
      const TopTwo top = top_two(row.first, row.second);
      const float* here = row.floats();
      Partition p;
      if (i + l + 1 == end) {
        p = probs ? partition_of_probs(here, c, [](int64_t) {}) : partition(here, c, top.first, [](int64_t, Floats) {});
      } else {
        row = arriving(i + l + 1);
        p = probs ? partition_of_probs(here, c, [&](int64_t j) { row.take(j); })
                  : partition(here, c, top.first, [&](int64_t j, Floats) { row.take(j); });
      }
      first[l] = top.first;
      second[l] = top.second;
      z[l] = p.z;
      s[l] = p.s;
    }
    const Sums r = {load(first), load(second), load(z), load(s), Ints{}};
    bad = write_scores(r, probs, tolerance, i, count, out, bad);
  }
  return bad;
}

}  // namespace

extern "C" {

// Rows [begin, end) of x [n, c]; buffer [score_buffer(c)]. Gives the lowest bad row, or -1.
int64_t AUTOAL_HOT(autoal_uncertainty)(const void* x, int dtype, int probs, float tolerance, int64_t begin, int64_t end,
                                       int64_t c, float* buffer, float* entropy, float* margin,
                                       float* least_confidence) {
  const Scores out = {entropy, margin, least_confidence};
  return with_numbers(x, dtype, [&](const auto* numbers) {
    return c <= kFewClasses ? scores_of_few(numbers, probs != 0, tolerance, begin, end, c, buffer, out)
                            : scores_of_many(numbers, probs != 0, tolerance, begin, end, c, buffer, out);
  });
}

// out [n, c]: p_i - onehot(argmax p_i) for rows [begin, end); buffer [padded(c)]. Gives the lowest bad row, or -1.
int64_t AUTOAL_HOT(autoal_residuals)(const void* x, int dtype, int probs, float tolerance, int64_t begin, int64_t end,
                                     int64_t c, float* buffer, float* out) {
  int64_t bad = -1;
  for (int64_t i = begin; i < end; ++i) {
    read(x, dtype, i * c, 1, c, (end - i) * c, probs ? 0.0f : minus_infinity(), buffer);
    const TopTwo top = top_two_of(buffer, c);
    const int64_t mode = first_equal(buffer, c, top.first);
    const Partition p = probs ? partition_of_probs(buffer, c, [](int64_t) {})
                              : partition(buffer, c, top.first, [&](int64_t j, Floats e) { store(buffer + j, e); });
    const float scale = probs ? 1.0f : 1.0f / p.z;
    if (bad < 0 && !is_distribution(p, probs != 0, tolerance)) bad = i;
    buffer[mode] = 0.0f;  // p - 1 would cancel where the model is confident; the sum of the others does not
    Floats others = {};
    for (int64_t j = 0; j < padded(c); j += kLanes) others += load(buffer + j);
    float* row = out + i * c;
    for (int64_t j = 0; j < c; ++j) row[j] = buffer[j] * scale;
    row[mode] = -sum(others) * scale;
  }
  return bad;
}

}  // extern "C"
