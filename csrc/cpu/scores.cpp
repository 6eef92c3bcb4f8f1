// uncertainty_scores, mc_uncertainty_scores, squared_norms: threads over chunks of rows; the arithmetic is in
// hot_*.cpp.
#include <algorithm>
#include <vector>

#include "common/parallel.h"
#include "cpu/isa.h"
#include "ops.h"

namespace autoal::cpu {
namespace {

constexpr int64_t kGrain = 1 << 16;  // elements per chunk: some tens of microseconds, well above a wake-up

// Calls rows(begin, end) -> lowest bad row or -1 over chunks of n rows, of whole vectors of rows if that is how they
// are scored; stores the lowest bad row of all, or n.
template <class Rows>
void score_rows(int64_t n, int64_t width, bool by_vectors, int64_t* bad_row, const Rows& rows) {
  const int64_t rows_of_grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(width, 1));
  const int64_t step = by_vectors ? padded(rows_of_grain) : rows_of_grain;
  const int64_t chunks = chunks_of(n, step);
  std::vector<int64_t> bad(chunks, -1);
  parallel_for(chunks, [&](int64_t k) { bad[k] = rows(step * k, std::min(n, step * (k + 1))); });
  *bad_row = n;
  for (int64_t b : bad)
    if (b >= 0) {
      *bad_row = b;
      break;
    }
}

}  // namespace

void uncertainty_scores(const Matrix& x, Kind kind, float tolerance, const UncertaintyScores& out, int64_t* bad_row) {
  const Isa& hot = isa();
  score_rows(x.rows, x.cols, x.cols <= kFewClasses, bad_row, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(score_buffer(x.cols));
    return hot.uncertainty(x.data, static_cast<int>(x.dtype), kind == Kind::kProbs, tolerance, begin, end, x.cols,
                           buffer.data(), out.entropy, out.margin, out.least_confidence);
  });
}

void mc_uncertainty_scores(const Samples& x, Kind kind, float tolerance, const MCUncertaintyScores& out,
                           int64_t* bad_row) {
  const Isa& hot = isa();
  score_rows(x.n, x.t * x.c, x.c <= kFewMCClasses, bad_row, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(mc_score_buffer(x.c));
    return hot.mc_uncertainty(x.data, static_cast<int>(x.dtype), kind == Kind::kProbs, tolerance, x.t, x.c, x.stride_t,
                              x.stride_n, x.stride_c, begin, end, buffer.data(), out.bald, out.entropy, out.mean_std,
                              out.variation_ratio);
  });
}

void squared_norms(const Matrix& x, float* out) {
  const Isa& hot = isa();
  int64_t none;
  score_rows(x.rows, x.cols, false, &none, [&](int64_t begin, int64_t end) {
    std::vector<float> buffer(padded(x.cols));
    hot.dots(x.data, static_cast<int>(x.dtype), begin, end, x.cols, nullptr, buffer.data(), out + begin);
    return int64_t{-1};
  });
}

}  // namespace autoal::cpu
