// BALD, entropy of the mean, mean-STD and variation ratio of Monte-Carlo samples; compiled once per instruction set.
// See vector.h for what may not stand here.
#include "cpu/softmax.h"

namespace {

struct Samples {
  int64_t t, c, stride_t, stride_n, stride_c;
};

struct MCScores {
  float *bald, *entropy, *mean_std, *variation_ratio;
};

// So many predictions of a sample are read at once where they lie side by side in memory.
constexpr int64_t kTogether = 4;

// Predictions [k, k + count) of samples [i, i + lanes) as columns [count, c, kLanes].
template <class Number>
void read_samples(const Number* x, const Samples& a, int64_t i, int64_t lanes, int64_t k, int64_t count, float* out) {
  const Number* p = x + i * a.stride_n + k * a.stride_t;
  if (a.stride_t == 1 && a.stride_c != 1)
    for (int64_t j = 0; j < a.c; ++j)
      read_columns(p + j * a.stride_c, a.stride_n, lanes, count, out + j * kLanes, a.c * kLanes);
  else
    for (int64_t u = 0; u < count; ++u, p += a.stride_t, out += a.c * kLanes)
      if (a.stride_c == 1) {
        if (a.stride_n == a.c) prefetch_ahead(p, a.c * lanes);
        read_columns(p, a.stride_n, lanes, a.c, out, kLanes);
      } else {
        for (int64_t j = 0; j < a.c; ++j) read_columns(p + j * a.stride_c, a.stride_n, lanes, 1, out + j * kLanes, 0);
      }
}

// Adds predictions to what is kept of their samples: [first, shift, square, votes][c, kLanes].
inline void add_predictions(float* columns, const Floats* scale, const Ints* mode, int64_t count, int64_t c,
                            float* kept) {
  const int64_t size = c * kLanes;
  Ints number = {};
  for (int64_t j = 0; j < size; j += kLanes, ++number) {
    const Floats first = load(kept + j);
    Floats shift = load(kept + size + j), square = load(kept + 2 * size + j), votes = load(kept + 3 * size + j);
    for (int64_t u = 0; u < count; ++u) {
      const Floats p = load(columns + u * size + j) * scale[u], more = p - first;
      store(columns + u * size + j, p);  // a product of another use is rounded, not fused into the difference
      shift += more;
      square += more * more;
      votes = select(mode[u] == number, votes + 1.0f, votes);
    }
    store(kept + size + j, shift);
    store(kept + 2 * size + j, square);
    store(kept + 3 * size + j, votes);
  }
}

// Everything is told by deviations from the first prediction: nothing cancels in the variance, and predictions that are
// all the same have a BALD of exactly 0.
template <class Number>
int64_t mc_scores_of_few(const Number* x, bool probs, float tolerance, const Samples& a, int64_t begin, int64_t end,
                         float* buffer, const MCScores& out) {
  const int64_t size = a.c * kLanes;
  float *first = buffer, *shift = first + size, *square = shift + size, *votes = square + size, *read = votes + size;
  const float inverse_t = 1.0f / static_cast<float>(a.t);
  int64_t bad = -1;
  for (int64_t i = begin; i < end; i += kLanes) {
    const int64_t count = end - i < kLanes ? end - i : kLanes;
    for (int64_t j = 0; j < 3 * size; ++j) shift[j] = 0.0f;  // and square, and votes
    Floats first_entropy = {}, more_entropy = {};
    Ints good = ~Ints{};
    for (int64_t k = 0; k < a.t; k += kTogether) {
      const int64_t together = a.t - k < kTogether ? a.t - k : kTogether;
      Floats scale[kTogether];
      Ints mode[kTogether];
      read_samples(x, a, i, count, k, together, read);
      for (int64_t u = 0; u < together; ++u) {
        const Sums r = probs ? sums_of_probs(read + u * size, a.c) : sums_of_logits<true>(read + u * size, a.c);
        scale[u] = probs ? splat(1.0f) : 1.0f / r.z;
        const Floats entropy = entropy_of(r, probs, scale[u]);
        if (k + u == 0) first_entropy = entropy;
        more_entropy += entropy - first_entropy;
        good &= is_distribution(r, probs, tolerance);
        mode[u] = r.mode;
      }
      if (k == 0)
        for (int64_t j = 0; j < size; j += kLanes) store(first + j, load(read + j) * scale[0]);
      add_predictions(read, scale, mode, together, a.c, first);
    }
    Floats negative_entropy = {}, less_entropy = {}, deviation = {}, most = {};
    for (int64_t j = 0; j < size; j += kLanes) {
      const Floats more = load(shift + j) * inverse_t;
      store(square + j, maximum(load(square + j) * inverse_t - more * more, Floats{}));
      const Floats of_first = p_log_p(load(first + j)), of_mean = p_log_p(load(first + j) + more);
      negative_entropy += of_mean;
      less_entropy += of_mean - of_first;
      most = maximum(most, load(votes + j));
    }
    for (int64_t j = 0; j < size; ++j) square[j] = __builtin_sqrtf(square[j]);
    for (int64_t j = 0; j < size; j += kLanes) deviation += load(square + j);
    store_lanes(out.bald + i, maximum(-less_entropy - more_entropy * inverse_t, Floats{}), count);
    store_lanes(out.entropy + i, maximum(-negative_entropy, Floats{}), count);
    store_lanes(out.mean_std + i, deviation / static_cast<float>(a.c), count);
    store_lanes(out.variation_ratio + i, (static_cast<float>(a.t) - most) / static_cast<float>(a.t), count);
    bad = lowest_bad(bad, good, i);
  }
  return bad;
}

template <class Number>
int64_t mc_scores_of_many(const Number* x, bool probs, float tolerance, const Samples& a, int64_t begin, int64_t end,
                          float* buffer, const MCScores& out) {
  const int64_t width = padded(a.c);
  float *row = buffer, *first = row + width, *shift = first + width, *square = shift + width, *votes = square + width;
  const int64_t size = (a.t - 1) * a.stride_t + (end - 1) * a.stride_n + (a.c - 1) * a.stride_c + 1;  // may be read
  const float inverse_t = 1.0f / static_cast<float>(a.t);
  int64_t bad = -1;
  for (int64_t i = begin; i < end; ++i) {
    for (int64_t j = 0; j < 3 * width; ++j) shift[j] = 0.0f;  // and square, and votes
    float first_entropy = 0.0f, more_entropy = 0.0f;
    bool good = true;
    for (int64_t k = 0; k < a.t; ++k) {
      const int64_t offset = k * a.stride_t + i * a.stride_n;
      read_numbers(x + offset, a.stride_c, a.c, size - offset, probs ? 0.0f : minus_infinity(), row);
      const TopTwo top = top_two_of(row, a.c);
      votes[first_equal(row, a.c, top.first)] += 1.0f;
      const Partition p = probs ? partition_of_probs(row, a.c, [](int64_t) {})
                                : partition(row, a.c, top.first, [&](int64_t j, Floats e) { store(row + j, e); });
      good &= is_distribution(p, probs, tolerance);
      const float entropy = entropy_of(p, probs);
      if (k == 0) first_entropy = entropy;
      more_entropy += entropy - first_entropy;
      const Floats scale = splat(probs ? 1.0f : 1.0f / p.z);
      for (int64_t j = 0; j < width; j += kLanes) {
        const Floats value = load(row + j) * scale;
        if (k == 0) {
          store(first + j, value);
          continue;
        }
        const Floats more = value - load(first + j);
        store(shift + j, load(shift + j) + more);
        store(square + j, load(square + j) + more * more);
      }
    }
    Floats negative_entropy = {}, less_entropy = {}, deviation = {}, most = {};
    for (int64_t block = 0; block < width; block += kBlock) {
      Floats block_entropy = {}, block_less = {};
      for (int64_t j = block; j < width && j < block + kBlock; j += kLanes) {
        const Floats more = load(shift + j) * inverse_t;
        store(square + j, maximum(load(square + j) * inverse_t - more * more, Floats{}));
        const Floats of_first = p_log_p(load(first + j)), of_mean = p_log_p(load(first + j) + more);
        block_entropy += of_mean;
        block_less += of_mean - of_first;
        most = maximum(most, load(votes + j));
      }
      negative_entropy += block_entropy;
      less_entropy += block_less;
    }
    for (int64_t j = 0; j < width; ++j) square[j] = __builtin_sqrtf(square[j]);
    for (int64_t j = 0; j < width; j += kLanes) deviation += load(square + j);
    const float h = -sum(negative_entropy), difference = -sum(less_entropy) - more_entropy * inverse_t;
    if (!good && bad < 0) bad = i;
    out.bald[i] = difference > 0.0f ? difference : 0.0f;
    out.entropy[i] = h > 0.0f ? h : 0.0f;
    out.mean_std[i] = sum(deviation) / static_cast<float>(a.c);
    out.variation_ratio[i] = (static_cast<float>(a.t) - largest(most)) / static_cast<float>(a.t);
  }
  return bad;
}

}  // namespace

extern "C" {

// Samples [begin, end) of x [t, n, c] by strides; buffer [mc_score_buffer(c)]. Gives the lowest bad sample, or -1.
int64_t AUTOAL_HOT(autoal_mc_uncertainty)(const void* x, int dtype, int probs, float tolerance, int64_t t, int64_t c,
                                          int64_t stride_t, int64_t stride_n, int64_t stride_c, int64_t begin,
                                          int64_t end, float* buffer, float* bald, float* entropy, float* mean_std,
                                          float* variation_ratio) {
  const Samples samples = {t, c, stride_t, stride_n, stride_c};
  const MCScores out = {bald, entropy, mean_std, variation_ratio};
  return with_numbers(x, dtype, [&](const auto* numbers) {
    return c <= kFewMCClasses ? mc_scores_of_few(numbers, probs != 0, tolerance, samples, begin, end, buffer, out)
                              : mc_scores_of_many(numbers, probs != 0, tolerance, samples, begin, end, buffer, out);
  });
}

}  // extern "C"
