// Softmax, entropies and their kin, row by row; compiled once per instruction set. See vector.h for what may not stand
// here. A row is read from memory once, into a padded buffer that stays in the cache.
#include "cpu/vector.h"

extern "C" float logf(float);
extern "C" float sqrtf(float);

namespace {

inline float minus_infinity() { return -__builtin_inff(); }
inline int64_t padded(int64_t c) { return (c + kLanes - 1) / kLanes * kLanes; }

struct TopTwo {
  float first, second;
};

TopTwo top_two(const float* row, int64_t c) {
  Floats first = splat(minus_infinity()), second = first;
  for (int64_t j = 0; j < padded(c); j += kLanes) {
    const Floats v = load(row + j);
    second = maximum(second, minimum(first, v));
    first = maximum(first, v);
  }
  float a[kLanes], b[kLanes];
  store(a, first);
  store(b, second);
  TopTwo top{a[0], b[0]};
  for (int l = 1; l < kLanes; ++l) {
    if (a[l] > top.first) {
      top.second = top.first > b[l] ? top.first : b[l];
      top.first = a[l];
    } else if (a[l] > top.second) {
      top.second = a[l];
    }
  }
  return top;
}

int64_t first_equal(const float* row, int64_t c, float value) {
  for (int64_t j = 0; j < c; ++j)
    if (row[j] == value) return j;
  return 0;
}

struct Partition {
  float z, s;  // sum e^(x - max), sum e^(x - max) (x - max)
};

// Leaves e^(x - max) in `row`.
Partition partition(float* row, int64_t c, float max) {
  Floats z[2] = {}, s[2] = {};
  const Floats shift = splat(max), lowest = splat(-104.0f);
  int u = 0;
  for (int64_t j = 0; j < padded(c); j += kLanes, u ^= 1) {
    const Floats raw = load(row + j) - shift;
    const Floats v = select(raw < lowest, lowest, raw);  // -inf adds 0, not 0 * inf
    const Floats e = exponential(v);
    store(row + j, e);
    z[u] += e;
    s[u] += e * v;
  }
  return {sum(z[0] + z[1]), sum(s[0] + s[1])};
}

float negative_entropy(const float* p, int64_t c) {
  Floats s[2] = {};
  int u = 0;
  for (int64_t j = 0; j < padded(c); j += kLanes, u ^= 1) s[u] += p_log_p(load(p + j));
  return sum(s[0] + s[1]);
}

// Whether p is a distribution within `tolerance`: NaN fails every comparison.
bool is_distribution(const float* p, int64_t c, float tolerance) {
  Floats total = {};
  Ints negative = {};
  for (int64_t j = 0; j < padded(c); j += kLanes) {
    const Floats v = load(p + j);
    negative |= v < Floats{};
    total += v;
  }
  int any = 0;
  for (int l = 0; l < kLanes; ++l) any |= negative[l];
  const float t = sum(total);
  return !any && t >= 1.0f - tolerance && t <= 1.0f + tolerance;
}

inline bool is_partition(const Partition& p) { return p.z >= 0.5f && p.z < __builtin_inff(); }

void read(const void* x, int dtype, int64_t offset, int64_t stride, int64_t c, float padding, float* row) {
  to_floats(x, dtype, offset, stride, c, row);
  for (int64_t j = c; j < padded(c); ++j) row[j] = padding;
}

}  // namespace

extern "C" {

// Rows [begin, end) of x [n, c]; buffer [padded(c)]. Gives the lowest bad row, or -1.
int64_t AUTOAL_HOT(autoal_uncertainty)(const void* x, int dtype, int probs, float tolerance, int64_t begin, int64_t end,
                                       int64_t c, float* buffer, float* entropy, float* margin,
                                       float* least_confidence) {
  int64_t bad = -1;
  for (int64_t i = begin; i < end; ++i) {
    read(x, dtype, i * c, 1, c, probs ? 0.0f : minus_infinity(), buffer);
    TopTwo top = top_two(buffer, c);
    bool good;
    float h;
    if (probs) {
      good = is_distribution(buffer, c, tolerance);
      h = -negative_entropy(buffer, c);
      if (c == 1) top.second = 0.0f;
    } else {
      const Partition p = partition(buffer, c, top.first);
      good = is_partition(p);
      h = logf(p.z) - p.s / p.z;
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
  int64_t bad = -1;
  for (int64_t i = begin; i < end; ++i) {
    for (int64_t j = 0; j < 3 * width; ++j) shift[j] = 0.0f;  // and square, and votes
    float expected = 0.0f;                                    // sum over t of H[p^t]
    bool good = true;
    for (int64_t k = 0; k < t; ++k) {
      read(x, dtype, k * stride_t + i * stride_n, stride_c, c, probs ? 0.0f : minus_infinity(), row);
      const TopTwo top = top_two(row, c);
      votes[first_equal(row, c, top.first)] += 1.0f;
      if (probs) {
        good &= is_distribution(row, c, tolerance);
        expected -= negative_entropy(row, c);
      } else {
        const Partition p = partition(row, c, top.first);
        good &= is_partition(p);
        expected += logf(p.z) - p.s / p.z;
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
    float deviation = 0.0f, most = 0.0f;
    for (int64_t j = 0; j < width; ++j) {
      const float mean = shift[j] * inverse, variance = square[j] * inverse - mean * mean;
      deviation += variance > 0.0f ? sqrtf(variance) : 0.0f;
      most = votes[j] > most ? votes[j] : most;
      row[j] = first[j] + mean;
    }
    const float h = -negative_entropy(row, c), difference = h - expected * inverse;
    if (!good && bad < 0) bad = i;
    entropy[i] = h > 0.0f ? h : 0.0f;
    bald[i] = difference > 0.0f ? difference : 0.0f;
    mean_std[i] = deviation / static_cast<float>(c);
    variation_ratio[i] = 1.0f - most * inverse;
  }
  return bad;
}

// out [n, c]: p_i - onehot(argmax p_i) for rows [begin, end); buffer [padded(c)]. Gives the lowest bad row, or -1.
int64_t AUTOAL_HOT(autoal_residuals)(const void* x, int dtype, int probs, float tolerance, int64_t begin, int64_t end,
                                     int64_t c, float* buffer, float* out) {
  int64_t bad = -1;
  for (int64_t i = begin; i < end; ++i) {
    read(x, dtype, i * c, 1, c, probs ? 0.0f : minus_infinity(), buffer);
    const TopTwo top = top_two(buffer, c);
    const int64_t mode = first_equal(buffer, c, top.first);
    float scale = 1.0f;
    bool good;
    if (probs) {
      good = is_distribution(buffer, c, tolerance);
    } else {
      const Partition p = partition(buffer, c, top.first);
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
