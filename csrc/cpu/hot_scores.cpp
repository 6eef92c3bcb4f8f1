// Softmax, entropies and their kin, row by row; compiled once per instruction set. See vector.h for what may not stand
// here. A row is read from memory once, into a padded buffer that stays in the cache.
#include "cpu/vector.h"

namespace {

constexpr int64_t kAhead = 4096;  // bytes

inline float minus_infinity() { return -__builtin_inff(); }
inline float log_of(float v) { return logarithm(splat(v))[0]; }

struct TopTwo {
  float first, second;
};

// Calls f with the row by vectors; lanes beyond c hold `padding`. The row may be read up to padded(c). With kFetch,
// what follows the row is on its way when it is reached.
template <bool kFetch = false, class F>
inline __attribute__((always_inline)) void each(const float* row, int64_t begin, int64_t end, int64_t c, float padding,
                                                F f) {
  int64_t j = begin;
  for (; j + kLanes <= c && j < end; j += kLanes) {
    if (kFetch) __builtin_prefetch(reinterpret_cast<const char*>(row + j) + kAhead);
    f(load(row + j));
  }
  if (j < end && j < c) f(first_lanes(load(row + j), c - j, padding));
}

template <bool kFetch = false>
TopTwo top_two(const float* row, int64_t c, float padding) {
  Floats first = splat(minus_infinity()), second = first;
  each<kFetch>(row, 0, c, c, padding, [&](Floats v) {
    second = maximum(second, minimum(first, v));
    first = maximum(first, v);
  });
  for (int distance = kLanes / 2; distance > 0; distance /= 2) {  // no branches: which lane wins is anyone's guess
    const Floats other = swapped(first, distance);
    second = maximum(maximum(second, swapped(second, distance)), minimum(first, other));
    first = maximum(first, other);
  }
  return {first[0], second[0]};
}

// The lowest position of `value`, 0 if there is none (a row with NaN).
int64_t first_equal(const float* row, int64_t c, float value) {
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
  float z, s;  // sum e^(x - max), sum e^(x - max) (x - max)
};

// Sums are taken by blocks of this many numbers first, so that rounding does not grow with 10,000 classes.
constexpr int64_t kBlock = 256;

// `exponentials`: where e^(x - max) is left [padded(c)], if anywhere.
Partition partition(const float* row, int64_t c, float max, float* exponentials = nullptr) {
  Floats z = {}, s = {};
  const Floats shift = splat(max);
  for (int64_t block = 0; block < c; block += kBlock) {
    Floats block_z = {}, block_s = {};
    const auto add = [&](Floats x) {
      const Floats v = maximum(splat(kLowest), x - shift);  // -inf adds 1e-38, not 0 * inf; NaN stays
      const Floats e = normal_exponential(v);
      block_z += e;
      block_s += e * v;
      return select(v > kLowest, e, Floats{});
    };
    if (exponentials)
      each(row, block, block + kBlock, c, minus_infinity(), [&, out = exponentials + block](Floats x) mutable {
        store(out, add(x));
        out += kLanes;
      });
    else
      each(row, block, block + kBlock, c, minus_infinity(), add);
    z += block_z;
    s += block_s;
  }
  return {sum(z), sum(s)};
}

float negative_entropy(const float* p, int64_t c) {
  Floats s = {};
  for (int64_t block = 0; block < c; block += kBlock) {
    Floats block_s = {};
    each(p, block, block + kBlock, c, 0.0f, [&](Floats v) { block_s += p_log_p(v); });
    s += block_s;
  }
  return sum(s);
}

// Whether p is a distribution within `tolerance`: NaN fails every comparison.
bool is_distribution(const float* p, int64_t c, float tolerance) {
  Floats total = {};
  Ints negative = {};
  each(p, 0, c, c, 0.0f, [&](Floats v) {
    negative |= v < Floats{};
    total += v;
  });
  const float t = sum(total);
  return !any_lane(negative) && t >= 1.0f - tolerance && t <= 1.0f + tolerance;
}

// Fetches what comes kAhead bytes after the n numbers at p: rows are read once, in order, and hardware stops at pages.
template <class Number>
inline void prefetch_ahead(const Number* p, int64_t n) {
  const char* bytes = reinterpret_cast<const char*>(p) + kAhead;
  for (int64_t byte = 0; byte < n * static_cast<int64_t>(sizeof(Number)); byte += 64) __builtin_prefetch(bytes + byte);
}

inline bool is_partition(const Partition& p) { return p.z >= 0.5f && p.z < __builtin_inff(); }

// For few classes a vector holds one class of kLanes rows.
struct Scores {
  Floats entropy, margin, least_confidence;
  Ints good;  // whether the row is a distribution
};

inline Floats column(const float* rows, int64_t c, int64_t j) {
  Floats v;
  for (int l = 0; l < kLanes; ++l) v[l] = rows[l * c + j];
  return v;
}

Scores scores_of_logits(const float* rows, float* columns, int64_t c) {
  Floats first = splat(minus_infinity()), second = first, z = {}, s = {};
  for (int64_t j = 0; j < c; ++j) {
    const Floats v = column(rows, c, j);
    store(columns + j * kLanes, v);
    second = maximum(second, minimum(first, v));
    first = maximum(first, v);
  }
  for (int64_t j = 0; j < c; ++j) {
    const Floats v = maximum(splat(kLowest), load(columns + j * kLanes) - first);
    const Floats e = normal_exponential(v);
    z += e;
    s += e * v;
  }
  const Floats best = 1.0f / z, h = logarithm(z) - s * best;
  const Ints good = (z >= 0.5f) & (z < splat(__builtin_inff()));
  return {maximum(h, Floats{}), 1.0f - (best - exponential(second - first) * best), 1.0f - best, good};
}

Scores scores_of_probs(const float* rows, float* columns, int64_t c, float tolerance) {
  Floats first = {}, second = {}, total = {}, s = {};
  Ints negative = {};
  for (int64_t j = 0; j < c; ++j) {
    const Floats v = column(rows, c, j);
    store(columns + j * kLanes, v);
    negative |= v < Floats{};
    total += v;
    second = maximum(second, minimum(first, v));
    first = maximum(first, v);
  }
  for (int64_t j = 0; j < c; ++j) s += p_log_p(load(columns + j * kLanes));
  const Ints good = ~negative & (total >= 1.0f - tolerance) & (total <= 1.0f + tolerance);
  return {maximum(-s, Floats{}), 1.0f - (first - second), 1.0f - first, good};
}

}  // namespace

extern "C" {

// Rows [begin, end) of x [n, c]; buffer [score_buffer(c)]. Gives the lowest bad row, or -1.
int64_t AUTOAL_HOT(autoal_uncertainty)(const void* x, int dtype, int probs, float tolerance, int64_t begin, int64_t end,
                                       int64_t c, float* buffer, float* entropy, float* margin,
                                       float* least_confidence) {
  int64_t bad = -1, i = begin;
  if (c <= kFewClasses)
    for (; i + kLanes <= end; i += kLanes) {
      float* columns = buffer + kLanes * c;
      const float* rows = static_cast<const float*>(x) + i * c;
      if (dtype == kFloat32) {
        prefetch_ahead(rows, kLanes * c);
      } else {
        prefetch_ahead(static_cast<const Half*>(x) + i * c, kLanes * c);
        read(x, dtype, i * c, 1, kLanes * c, (end - i) * c, 0.0f, buffer);
        rows = buffer;
      }
      const Scores s = probs ? scores_of_probs(rows, columns, c, tolerance) : scores_of_logits(rows, columns, c);
      store(entropy + i, s.entropy);
      store(margin + i, s.margin);
      store(least_confidence + i, s.least_confidence);
      if (bad < 0 && any_lane(~s.good))
        for (int l = 0; l < kLanes && bad < 0; ++l)
          if (!s.good[l]) bad = i + l;
    }
  for (; i < end; ++i) {
    const float padding = probs ? 0.0f : minus_infinity(), *row = buffer;
    if (dtype == kFloat32 && padded(c) <= (end - i) * c)
      row = static_cast<const float*>(x) + i * c;
    else {
      prefetch_ahead(static_cast<const Half*>(x) + i * c, c);
      read(x, dtype, i * c, 1, c, (end - i) * c, padding, buffer);
    }
    TopTwo top = top_two<true>(row, c, padding);
    bool good;
    float h;
    if (probs) {
      good = is_distribution(row, c, tolerance);
      h = -negative_entropy(row, c);
      if (c == 1) top.second = 0.0f;
    } else {
      const Partition p = partition(row, c, top.first);
      good = is_partition(p);
      h = log_of(p.z) - p.s / p.z;
      top.second = exponential(splat(top.second - top.first))[0] / p.z;
      top.first = 1.0f / p.z;
    }
    if (!good && bad < 0) bad = i;
    entropy[i] = h > 0.0f ? h : 0.0f;
    margin[i] = 1.0f - (top.first - top.second);
    least_confidence[i] = 1.0f - top.first;
  }
  return bad;
}

// Samples [begin, end) of x [t, n, c] by strides; buffer [5 * padded(c)]. Gives the lowest bad sample, or -1.
int64_t AUTOAL_HOT(autoal_mc_uncertainty)(const void* x, int dtype, int probs, float tolerance, int64_t t, int64_t c,
                                          int64_t stride_t, int64_t stride_n, int64_t stride_c, int64_t begin,
                                          int64_t end, float* buffer, float* bald, float* entropy, float* mean_std,
                                          float* variation_ratio) {
  const int64_t width = padded(c);
  float *row = buffer, *first = row + width, *shift = first + width, *square = shift + width, *votes = square + width;
  const int64_t size = (t - 1) * stride_t + (end - 1) * stride_n + (c - 1) * stride_c + 1;  // what may be read
  int64_t bad = -1;
  for (int64_t i = begin; i < end; ++i) {
    for (int64_t j = 0; j < 3 * width; ++j) shift[j] = 0.0f;  // and square, and votes
    float expected = 0.0f;                                    // sum over t of H[p^t]
    bool good = true;
    for (int64_t k = 0; k < t; ++k) {
      const int64_t offset = k * stride_t + i * stride_n;
      read(x, dtype, offset, stride_c, c, size - offset, probs ? 0.0f : minus_infinity(), row);
      const TopTwo top = top_two(row, c, probs ? 0.0f : minus_infinity());
      votes[first_equal(row, c, top.first)] += 1.0f;
      if (probs) {
        good &= is_distribution(row, c, tolerance);
        expected -= negative_entropy(row, c);
      } else {
        const Partition p = partition(row, c, top.first, row);
        good &= is_partition(p);
        expected += log_of(p.z) - p.s / p.z;
        const Floats inverse = splat(1.0f / p.z);
        for (int64_t j = 0; j < width; j += kLanes) store(row + j, load(row + j) * inverse);
      }
      if (k == 0) {  // deviations from the first sample: no cancellation in the variance
        for (int64_t j = 0; j < width; j += kLanes) store(first + j, load(row + j));
        continue;
      }
      for (int64_t j = 0; j < width; j += kLanes) {
        const Floats diff = load(row + j) - load(first + j);
        store(shift + j, load(shift + j) + diff);
        store(square + j, load(square + j) + diff * diff);
      }
    }
    const float inverse = 1.0f / static_cast<float>(t);
    for (int64_t j = 0; j < width; j += kLanes) {
      const Floats mean = load(shift + j) * inverse;
      store(square + j, maximum(load(square + j) * inverse - mean * mean, Floats{}));
      store(row + j, load(first + j) + mean);
    }
    for (int64_t j = 0; j < width; ++j) square[j] = __builtin_sqrtf(square[j]);
    Floats deviation = {}, most = {};
    for (int64_t j = 0; j < width; j += kLanes) {
      deviation += load(square + j);
      most = maximum(most, load(votes + j));
    }
    for (int distance = kLanes / 2; distance > 0; distance /= 2) most = maximum(most, swapped(most, distance));
    const float h = -negative_entropy(row, c), difference = h - expected * inverse;
    if (!good && bad < 0) bad = i;
    entropy[i] = h > 0.0f ? h : 0.0f;
    bald[i] = difference > 0.0f ? difference : 0.0f;
    mean_std[i] = sum(deviation) / static_cast<float>(c);
    variation_ratio[i] = (static_cast<float>(t) - most[0]) / static_cast<float>(t);
  }
  return bad;
}

// out [n, c]: p_i - onehot(argmax p_i) for rows [begin, end); buffer [padded(c)]. Gives the lowest bad row, or -1.
int64_t AUTOAL_HOT(autoal_residuals)(const void* x, int dtype, int probs, float tolerance, int64_t begin, int64_t end,
                                     int64_t c, float* buffer, float* out) {
  int64_t bad = -1;
  for (int64_t i = begin; i < end; ++i) {
    read(x, dtype, i * c, 1, c, (end - i) * c, probs ? 0.0f : minus_infinity(), buffer);
    const TopTwo top = top_two(buffer, c, probs ? 0.0f : minus_infinity());
    const int64_t mode = first_equal(buffer, c, top.first);
    float scale = 1.0f;
    bool good;
    if (probs) {
      good = is_distribution(buffer, c, tolerance);
    } else {
      const Partition p = partition(buffer, c, top.first, buffer);
      good = is_partition(p);
      scale = 1.0f / p.z;
    }
    if (!good && bad < 0) bad = i;
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
