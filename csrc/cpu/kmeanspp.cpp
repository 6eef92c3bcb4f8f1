// kmeanspp: D^2 sampling, by one pass over the rows per pick or, for many picks, from stale weights by rejection.
#include <limits>
#include <vector>

#include "common/passes.h"
#include "cpu/draw.h"
#include "cpu/euclidean.h"
#include "cpu/isa.h"
#include "cpu/rejection.h"
#include "ops.h"

namespace autoal::cpu {
namespace {

void plain_passes(const Matrix& x, const int64_t* excluded, int64_t n_excluded, int64_t first, int64_t k, uint64_t seed,
                  const Selection& out, const Tick& tick) {
  const Isa& hot = isa();
  const int dtype = static_cast<int>(x.dtype);
  Weights weights(x.rows);
  std::fill(weights.value.begin(), weights.value.end(), std::numeric_limits<float>::infinity());
  weights.leave_out(excluded, n_excluded);
  std::vector<float> center(padded(x.cols));

  const auto pick = [&](int64_t j) { return j > 0 ? weights.draw(seed, static_cast<uint64_t>(j)) : first; };
  const auto cover = [&](int64_t row) {
    hot.read_row(x.data, dtype, row, x.cols, nullptr, center.data());
    weights.update([&](int64_t begin, int64_t end) {
      std::vector<float> buffer(padded(x.cols));
      double total = 0.0;
      hot.cover(x.data, dtype, begin, end, x.cols, nullptr, center.data(), buffer.data(), weights.value.data(), &total);
      return total;
    });
  };
  sample(weights, k, out, tick, pick, cover);
}

}  // namespace

void kmeanspp(const Matrix& x, const int64_t* excluded, int64_t n_excluded, int64_t first, int64_t k, uint64_t seed,
              Passes passes, const Selection& out, const Tick& tick) {
  if (first < 0) first = static_cast<int64_t>(uniform(seed, 0) * static_cast<double>(x.rows));
  if (plainly(passes, x.rows, k)) return plain_passes(x, excluded, n_excluded, first, k, seed, out, tick);
  Euclidean metric(x, nullptr, k);
  RejectionSampler<Euclidean>(metric, first, k, seed, out, tick).run(excluded, n_excluded);
}

}  // namespace autoal::cpu
