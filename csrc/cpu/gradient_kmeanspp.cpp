// gradient_kmeanspp (BADGE): D^2 sampling over g_i = a_i (x) h_i, a_i = p_i - onehot(argmax p_i), which is never
// formed. This file is compiled without contraction: a_ii * h_ii rounds once in the norm and once in the product of
// copies, so that their distance is 0 exactly.
#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "common/passes.h"
#include "cpu/draw.h"
#include "cpu/gradient.h"
#include "cpu/isa.h"
#include "cpu/rejection.h"
#include "ops.h"

namespace autoal::cpu {

namespace {

// What is known of the pool before the first pick.
struct Pool {
  std::unique_ptr<float[]> a;       // [N, C]; a vector would fill it with zeros first, at length and on one thread
  std::vector<float> norm, length;  // [N] |g|^2 = |a|^2 |h|^2, [N] |h|
  int64_t bad_row, first;           // N if there is none; the row with the longest gradient
};

Pool prepare(const Matrix& outputs, Kind kind, float tolerance, const Matrix& embeddings, const int64_t* excluded,
             int64_t n_excluded, const Tick& tick) {
  const Isa& hot = isa();
  const int64_t n = outputs.rows, c = outputs.cols, d = embeddings.cols;
  Pool pool{std::unique_ptr<float[]>(new float[n * c + kLanes]), std::vector<float>(n), std::vector<float>(n), n, 0};
  std::fill_n(pool.a.get() + n * c, kLanes, 0.0f);
  const int64_t chunks = chunks_of(n, kDrawChunk);
  const int64_t slab = std::max<int64_t>(num_threads(), (int64_t{1} << 25) / (kDrawChunk * (c + d)));  // between ticks
  std::vector<int64_t> bad(chunks, -1);
  const auto prepare_chunk = [&](int64_t chunk) {
    const int64_t begin = chunk * kDrawChunk, end = std::min(n, begin + kDrawChunk);
    std::vector<float> buffer(padded(c));
    bad[chunk] = hot.residuals(outputs.data, static_cast<int>(outputs.dtype), kind == Kind::kProbs, tolerance, begin,
                               end, c, buffer.data(), pool.a.get());
    Gradients::measure(pool.a.get(), c, embeddings, begin, end, pool.norm.data(), pool.length.data());
  };
  for (int64_t first = 0; first < chunks; first += slab) {
    parallel_for(std::min(slab, chunks - first), [&](int64_t chunk) { prepare_chunk(first + chunk); });
    if (tick) tick(0);
  }
  for (int64_t chunk = chunks; chunk-- > 0;)
    if (bad[chunk] >= 0) pool.bad_row = bad[chunk];
  for (int64_t j = 0; j < n_excluded; ++j)
    pool.norm[excluded[j]] = 0.0f;  // none is the longest, and no weight reads it
  pool.first = std::max_element(pool.norm.begin(), pool.norm.end()) - pool.norm.begin();
  return pool;
}

void plain_passes(const Pool& pool, int64_t c, const Matrix& embeddings, const int64_t* excluded, int64_t n_excluded,
                  int64_t k, uint64_t seed, const Selection& out, const Tick& tick) {
  const Isa& hot = isa();
  const int64_t n = embeddings.rows, d = embeddings.cols;
  const int dtype = static_cast<int>(embeddings.dtype), f32 = static_cast<int>(DType::kFloat32);
  std::vector<float> center(padded(d));
  Weights weights(n);
  std::fill(weights.value.begin(), weights.value.end(), std::numeric_limits<float>::infinity());
  weights.leave_out(excluded, n_excluded);
  const auto pick = [&](int64_t j) -> int64_t {
    if (j > 0) return weights.draw(seed, static_cast<uint64_t>(j));
    return pool.norm[pool.first] > 0.0f ? pool.first : -1;
  };
  const auto cover = [&](int64_t row) {
    hot.read_row(embeddings.data, dtype, row, d, nullptr, center.data());
    const float* a_row = pool.a.get() + row * c;
    weights.update([&](int64_t begin, int64_t end) {
      std::vector<float> buffer(padded(std::max(c, d))), aa(end - begin), hh(end - begin);
      hot.dots(pool.a.get(), f32, begin, end, c, a_row, buffer.data(), aa.data());
      hot.dots(embeddings.data, dtype, begin, end, d, center.data(), buffer.data(), hh.data());
      double total = 0.0;
      for (int64_t i = begin; i < end; ++i) {
        const float product = aa[i - begin] * hh[i - begin];
        const float distance = std::max(0.0f, (pool.norm[i] + pool.norm[row]) - 2.0f * product);
        if (distance < weights.value[i]) weights.value[i] = distance;
        if (i == row) weights.value[i] = 0.0f;
        total += weights.value[i];
      }
      return total;
    });
  };
  sample(weights, k, out, tick, pick, cover);
}

}  // namespace

void gradient_kmeanspp(const Matrix& outputs, Kind kind, float tolerance, const Matrix& embeddings,
                       const int64_t* excluded, int64_t n_excluded, int64_t k, uint64_t seed, Passes passes,
                       const Selection& out, int64_t* bad_row, const Tick& tick) {
  const Pool pool = prepare(outputs, kind, tolerance, embeddings, excluded, n_excluded, tick);
  *bad_row = pool.bad_row;
  *out.filled = 0;
  if (pool.bad_row < outputs.rows) return;
  if (plainly(passes, outputs.rows, k) || !(pool.norm[pool.first] > 0.0f))
    return plain_passes(pool, outputs.cols, embeddings, excluded, n_excluded, k, seed, out, tick);
  Gradients metric(pool.a.get(), outputs.cols, pool.norm.data(), pool.length.data(), embeddings, k);
  RejectionSampler<Gradients>(metric, pool.first, k, seed, out, tick).run(excluded, n_excluded);
}

}  // namespace autoal::cpu
