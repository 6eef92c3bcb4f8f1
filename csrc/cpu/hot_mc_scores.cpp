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

// What is kept of a sample's predictions until all are read, for vectors that hold a class of kLanes samples each, or
// kLanes classes of one. All by deviations from the first prediction: nothing cancels in the variance, and predictions
// that are all the same have a BALD of exactly 0.
struct Kept {
  float* first;
  int64_t size;  // floats
  float *shift = first + size, *square = shift + size, *votes = square + size;

  void start(const float* p, Floats scale) const {
    for (int64_t j = 0; j < size; j += kLanes) store(first + j, load(p + j) * scale);
    for (int64_t j = 0; j < 3 * size; ++j) shift[j] = 0.0f;  // and square, and votes
  }

  // `count` predictions p * scale. The first vector holds classes `number`, each further one those `step` higher.
  void add(const float* p, const Floats* scale, const Ints* mode, int64_t count, Ints number, int32_t step) const {
    for (int64_t j = 0; j < size; j += kLanes, number += step) {
      const Floats from = load(first + j);
      Floats total = load(shift + j), squares = load(square + j), voters = load(votes + j);
      for (int64_t u = 0; u < count; ++u) {
        const Floats more = rounded(load(p + u * size + j) * scale[u]) - from;
        total += more;
        squares += more * more;
        voters = select(mode[u] == number, voters + 1.0f, voters);
      }
      store(shift + j, total);
      store(square + j, squares);
      store(votes + j, voters);
    }
  }
};

// Sums over the vectors of a Kept: p ln p of the mean, the same less that of the first prediction, standard deviations;
// and the most votes.
struct Summary {
  Floats p_log_p, more_p_log_p, deviation, votes;
};

Summary summary(const Kept& kept, float inverse_t) {
  Summary all = {};
  LongSum of_all, more_of_all;
  for (int64_t block = 0; block < kept.size; block += kBlock) {
    Floats of_means = {}, more_of_means = {};
    for (int64_t j = block; j < kept.size && j < block + kBlock; j += kLanes) {
      const Floats first = load(kept.first + j), shift = load(kept.shift + j) * inverse_t;
      store(kept.square + j, maximum(load(kept.square + j) * inverse_t - shift * shift, Floats{}));
      const Floats of_mean = p_log_p(first + shift), of_first = rounded(p_log_p(first));
      of_means += of_mean;
      more_of_means += rounded(of_mean) - of_first;
      all.votes = maximum(all.votes, load(kept.votes + j));
    }
    of_all.add(of_means);
    more_of_all.add(more_of_means);
  }
  all.p_log_p = of_all.total;
  all.more_p_log_p = more_of_all.total;
  for (int64_t j = 0; j < kept.size; ++j) kept.square[j] = __builtin_sqrtf(kept.square[j]);
  for (int64_t j = 0; j < kept.size; j += kLanes) all.deviation += load(kept.square + j);
  return all;
}

template <class Number>
int64_t mc_scores_of_few(const Number* x, bool probs, float tolerance, const Samples& a, int64_t begin, int64_t end,
                         float* buffer, const MCScores& out) {
  const int64_t size = a.c * kLanes;
  const Kept kept = {buffer, size};
  float* columns = buffer + 4 * size;
  const float t = static_cast<float>(a.t), inverse_t = 1.0f / t;
  int64_t bad = -1;
  for (int64_t i = begin; i < end; i += kLanes) {
    const int64_t count = end - i < kLanes ? end - i : kLanes;
    Floats first_entropy = {}, more_entropy = {};
    Ints good = ~Ints{};
    for (int64_t k = 0; k < a.t; k += kTogether) {
      const int64_t together = a.t - k < kTogether ? a.t - k : kTogether;
      Floats scale[kTogether];
      Ints mode[kTogether];
      read_samples(x, a, i, count, k, together, columns);
      for (int64_t u = 0; u < together; ++u) {
        const Sums r = probs ? sums_of_probs(columns + u * size, a.c) : sums_of_logits<true>(columns + u * size, a.c);
        scale[u] = probs ? splat(1.0f) : 1.0f / r.z;
        mode[u] = r.mode;
        good &= is_distribution(r, probs, tolerance);
        const Floats entropy = entropy_of(r, probs, scale[u]);
        if (k + u == 0) first_entropy = entropy;
        more_entropy += entropy - first_entropy;
      }
      if (k == 0) kept.start(columns, scale[0]);
      kept.add(columns, scale, mode, together, Ints{}, 1);
    }
    const Summary all = summary(kept, inverse_t);
    store_lanes(out.bald + i, maximum(-all.more_p_log_p - more_entropy * inverse_t, Floats{}), count);
    store_lanes(out.entropy + i, maximum(-all.p_log_p, Floats{}), count);
    store_lanes(out.mean_std + i, all.deviation / static_cast<float>(a.c), count);
    store_lanes(out.variation_ratio + i, (t - all.votes) / t, count);
    bad = lowest_bad(bad, good, i);
  }
  return bad;
}

template <class Number>
int64_t mc_scores_of_many(const Number* x, bool probs, float tolerance, const Samples& a, int64_t begin, int64_t end,
                          float* buffer, const MCScores& out) {
  const Kept kept = {buffer, padded(a.c)};
  float* row = buffer + 4 * kept.size;
  const int64_t size = (a.t - 1) * a.stride_t + (end - 1) * a.stride_n + (a.c - 1) * a.stride_c + 1;  // may be read
  const float t = static_cast<float>(a.t), inverse_t = 1.0f / t;
  int64_t bad = -1;
  for (int64_t i = begin; i < end; ++i) {
    float first_entropy = 0.0f, more_entropy = 0.0f;
    bool good = true;
    for (int64_t k = 0; k < a.t; ++k) {
      const int64_t offset = k * a.stride_t + i * a.stride_n;
      read_numbers(x + offset, a.stride_c, a.c, size - offset, probs ? 0.0f : minus_infinity(), row);
      const TopTwo top = top_two_of(row, a.c);
      const Ints mode = Ints{} + static_cast<int32_t>(first_equal(row, a.c, top.first));
      const Partition p = probs ? partition_of_probs(row, a.c, [](int64_t) {})
                                : partition(row, a.c, top.first, [&](int64_t j, Floats e) { store(row + j, e); });
      const Floats scale = splat(probs ? 1.0f : 1.0f / p.z);
      good &= is_distribution(p, probs, tolerance);
      const float entropy = entropy_of(p, probs);
      if (k == 0) first_entropy = entropy;
      more_entropy += entropy - first_entropy;
      if (k == 0) kept.start(row, scale);
      kept.add(row, &scale, &mode, 1, lane_numbers(), kLanes);
    }
    const Summary all = summary(kept, inverse_t);
    const float h = -sum(all.p_log_p), bald = -sum(all.more_p_log_p) - more_entropy * inverse_t;
    if (bad < 0 && !good) bad = i;
    out.bald[i] = bald > 0.0f ? bald : 0.0f;
    out.entropy[i] = h > 0.0f ? h : 0.0f;
    out.mean_std[i] = sum(all.deviation) / static_cast<float>(a.c);
    out.variation_ratio[i] = (t - largest(all.votes)) / t;
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
