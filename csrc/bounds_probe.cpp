// For tests: which pairs of a few rows the bounds of the lazy selections leave, at what value of a bound, and what
// their exact distances are. A pair that is ruled out below its bound would be seen in no pick, only in the law of
// many.
#include "bounds_probe.h"

#include <algorithm>
#include <vector>

#include "cpu/euclidean.h"
#include "cpu/gradient.h"
#include "cuda/euclidean.cuh"
#include "cuda/gradient.cuh"

namespace autoal {
namespace cpu {
namespace {

template <class Metric>
void probe(Metric& metric, const PairBounds& pairs, bool apart) {
  const int64_t n = metric.rows();
  typename Metric::Points points;
  points.reserve(metric, n);
  for (int64_t i = 0; i < n; ++i) {
    metric.add(i);
    points.join(metric, i, i);
  }
  std::vector<float> bounds(n);
  std::vector<uint64_t> hits(n);
  const int64_t together = apart ? 1 : n;
  for (int64_t j = 0; j < n; ++j)
    for (int64_t first = 0; first < n; first += together) {
      for (int64_t i = 0; i < n; ++i) bounds[i] = i >= first && i < first + together ? pairs.bounds[i * n + j] : 0.0f;
      metric.meet(points, n, j / metric.width(), bounds.data(), hits.data());
      for (int64_t i = first; i < first + together; ++i) {
        const bool hit = hits[i] >> j % metric.width() & 1;
        pairs.left[i * n + j] = hit && metric.might_lower(points, i, j, bounds[i]);
        pairs.exact[i * n + j] = metric.distance(points, i, j);
      }
    }
}

}  // namespace

void probe_bounds(const Matrix& x, const float* a, int64_t c, bool apart, const PairBounds& pairs) {
  if (!a) {
    Euclidean metric(x, nullptr, x.rows);
    return probe(metric, pairs, apart);
  }
  std::vector<float> norms(x.rows), lengths(x.rows);
  Gradients::measure(a, c, x, 0, x.rows, norms.data(), lengths.data());
  Gradients metric(a, c, norms.data(), lengths.data(), x, x.rows);
  probe(metric, pairs, apart);
}

}  // namespace cpu

namespace cuda {
namespace {

template <class T>
__device__ void find_norms(const Euclidean<T>& metric, float*, float*) {
  metric.find_middle();
  __syncthreads();
  for (int64_t i = threadIdx.x / kWarp; i < metric.n; i += kWarps) metric.find_norm(i);
}

template <class T>
__device__ void find_norms(const Gradients<T>& metric, float* norms, float* lengths) {
  for (int64_t i = threadIdx.x / kWarp; i < metric.n; i += kWarps) metric.measure(i, norms, lengths);
}

// One block, of at most kTile rows.
template <class Metric>
__global__ void bounds_kernel(Metric metric, float* norms, float* lengths, bool apart, PairBounds pairs) {
  AUTOAL_SHARED(memory, typename Metric::Memory);
  AUTOAL_SHARED(low, float[kTile][kTile + 1]);
  AUTOAL_SHARED(rows, int[kTile]);
  AUTOAL_SHARED(bounds, float[kTile]);
  const int n = static_cast<int>(metric.n);
  find_norms(metric, norms, lengths);
  if (threadIdx.x < kTile) {
    rows[threadIdx.x] = threadIdx.x;
    bounds[threadIdx.x] = apart ? 0.0f : __uint_as_float(0x7f800000u);  // so that few pairs are left to look at, or all
  }
  __syncthreads();
  metric.lower_bounds(memory, rows, n, rows, n, bounds, low);
  for (int i = threadIdx.x / kWarp; i < n; i += kWarps)
    for (int j = 0; j < n; ++j) {
      const float exact = metric.exact(i, j);
      if (threadIdx.x % kWarp != 0) continue;
      pairs.exact[i * n + j] = exact;
      pairs.left[i * n + j] = low[i][j] < pairs.bounds[i * n + j];
    }
}

}  // namespace

void probe_bounds(const Matrix& x, const float* a, int64_t c, bool apart, const PairBounds& pairs) {
  std::vector<float> norms(x.rows), lengths(std::max(x.rows, x.cols));
  const float* h = static_cast<const float*>(x.data);
  const Stream stream{0, nullptr};
  if (a)
    launch("probe_bounds", stream, bounds_kernel<Gradients<float>>, 1,
           Gradients<float>{a, h, x.rows, c, x.cols, norms.data(), lengths.data()}, norms.data(), lengths.data(), apart,
           pairs);
  else
    launch("probe_bounds", stream, bounds_kernel<Euclidean<float>>, 1,
           Euclidean<float>{h, nullptr, x.rows, x.cols, norms.data(), lengths.data()}, norms.data(), lengths.data(),
           apart, pairs);
}

}  // namespace cuda
}  // namespace autoal
