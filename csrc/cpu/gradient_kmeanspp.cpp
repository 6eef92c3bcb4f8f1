// gradient_kmeanspp (BADGE): D^2 sampling over g_i = a_i (x) h_i, a_i = p_i - onehot(argmax p_i), which is never
// formed. This file is compiled without contraction: a_ii * h_ii rounds once in the norm and once in the product of
// copies, so that their distance is 0 exactly.
#include <algorithm>
#include <limits>
#include <vector>

#include "cpu/draw.h"
#include "cpu/isa.h"
#include "ops.h"

namespace autoal::cpu {

void gradient_kmeanspp(const Matrix& outputs, Kind kind, float tolerance, const Matrix& embeddings, int64_t k,
                       uint64_t seed, Passes, const Selection& out, int64_t* bad_row, const Tick& tick) {
  const Isa& hot = isa();
  const int64_t n = outputs.rows, c = outputs.cols, d = embeddings.cols;
  const int dtype = static_cast<int>(embeddings.dtype), f32 = static_cast<int>(DType::kFloat32);
  std::vector<float> a(n * c + kLanes), norm(n), center(padded(d));
  Weights weights(n);

  const int64_t chunks = chunks_of(n, kDrawChunk);
  std::vector<int64_t> bad(chunks, -1);
  parallel_for(chunks, [&](int64_t chunk) {  // the factors a_i, and |g_i|^2 = |a_i|^2 |h_i|^2
    const int64_t begin = chunk * kDrawChunk, end = std::min(n, begin + kDrawChunk);
    std::vector<float> buffer(padded(std::max(c, d))), aa(end - begin), hh(end - begin);
    bad[chunk] = hot.residuals(outputs.data, static_cast<int>(outputs.dtype), kind == Kind::kProbs, tolerance, begin,
                               end, c, buffer.data(), a.data());
    hot.dots(a.data(), f32, begin, end, c, nullptr, buffer.data(), aa.data());
    hot.dots(embeddings.data, dtype, begin, end, d, nullptr, buffer.data(), hh.data());
    for (int64_t i = begin; i < end; ++i) norm[i] = aa[i - begin] * hh[i - begin];
  });
  *bad_row = n;
  for (int64_t chunk = chunks; chunk-- > 0;)
    if (bad[chunk] >= 0) *bad_row = bad[chunk];
  if (*bad_row < n) {
    *out.filled = 0;
    return;
  }

  std::fill(weights.value.begin(), weights.value.end(), std::numeric_limits<float>::infinity());
  const auto pick = [&](int64_t j) -> int64_t {
    if (j > 0) return weights.draw(seed, static_cast<uint64_t>(j));
    const int64_t largest = std::max_element(norm.begin(), norm.end()) - norm.begin();
    return norm[largest] > 0.0f ? largest : -1;
  };
  const auto cover = [&](int64_t row) {
    hot.read_row(embeddings.data, dtype, row, d, nullptr, center.data());
    const float* a_row = a.data() + row * c;
    weights.update([&](int64_t begin, int64_t end) {
      std::vector<float> buffer(padded(std::max(c, d))), aa(end - begin), hh(end - begin);
      hot.dots(a.data(), f32, begin, end, c, a_row, buffer.data(), aa.data());
      hot.dots(embeddings.data, dtype, begin, end, d, center.data(), buffer.data(), hh.data());
      double total = 0.0;
      for (int64_t i = begin; i < end; ++i) {
        const float product = aa[i - begin] * hh[i - begin];
        const float distance = std::max(0.0f, (norm[i] + norm[row]) - 2.0f * product);
        if (distance < weights.value[i]) weights.value[i] = distance;
        if (i == row) weights.value[i] = 0.0f;
        total += weights.value[i];
      }
      return total;
    });
  };
  sample(weights, k, out, tick, pick, cover);
}

}  // namespace autoal::cpu
