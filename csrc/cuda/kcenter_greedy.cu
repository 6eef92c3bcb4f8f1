// kcenter_greedy: farthest-first traversal. For few picks, one launch per center; for many, one launch in all, blocked
// lazy: a bound that is not the largest need not be up to date. Both make the same picks, and the host never waits.
// docs/kcenter_greedy.md has the proof and the shape.
#include "common/passes.h"
#include "cuda/common.cuh"
#include "cuda/euclidean.cuh"
#include "cuda/lazy_bounds.cuh"
#include "cuda/select.cuh"

namespace autoal::cuda {
namespace {

// ---------------------------------------------------------------- plain passes
struct Plain {
  float* distance;  // [n] squared distance to the nearest center; -1 for centers and excluded rows
  Key* keys;        // [k + 1]: keys[j] = the farthest row when j rows are picked
};

Plain carve_plain(Carver& carver, int64_t n, int64_t k) {
  Plain s;
  s.distance = carver.take<float>(n);
  s.keys = carver.take<Key>(k + 1);
  return s;
}

__global__ void __launch_bounds__(kThreads) start_kernel(Plain s, int64_t n, int64_t k, int64_t* filled) {
  const int64_t stride = int64_t{gridDim.x} * kThreads, begin = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  for (int64_t i = begin; i < n; i += stride) s.distance[i] = __uint_as_float(0x7f800000u);
  for (int64_t j = begin; j <= k; j += stride) s.keys[j] = 0;
  if (begin == 0) *filled = 0;
}

__global__ void __launch_bounds__(kThreads) exclude_kernel(Plain s, const int64_t* excluded, int64_t n_excluded) {
  for (int64_t j = int64_t{blockIdx.x} * kThreads + threadIdx.x; j < n_excluded; j += int64_t{gridDim.x} * kThreads)
    s.distance[excluded[j]] = -1.0f;
}

// Lowers the distances by one center, given by address, by number (first >= 0), or as the farthest row so far (`key`).
// `farthest` gets the farthest row afterwards. Rows are a warp's each.
template <class T>
__global__ void __launch_bounds__(kThreads)
    cover_kernel(const T* __restrict__ x, int64_t n, int64_t d, const float* __restrict__ scale, float* distance,
                 const int64_t* given, int64_t first, const Key* key, int64_t* pick, int64_t* filled, Key* farthest) {
  const int64_t center = given ? *given : first >= 0 ? first : row_of(*key);
  const float scale_center = scale ? scale[center] : 1.0f;
  Key best = 0;
  for (int64_t i = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp; i < n; i += int64_t{gridDim.x} * kWarps) {
    const float s = warp_squared_distance(x + i * d, scale ? scale[i] : 1.0f, x + center * d, scale_center, d);
    if (threadIdx.x % kWarp != 0) continue;
    float now = distance[i];
    if (i == center) {
      if (pick) {
        *pick = center;
        if (now == 0.0f && first < 0) *filled += 1;  // one thread of the grid is here; a forced pick fills nothing
      }
      now = -1.0f;
    } else if (s < now) {
      now = s;
    }
    distance[i] = now;
    if (now >= 0.0f) {
      const Key k = make_key(now, i);
      best = best < k ? k : best;
    }
  }
  best = block_max(best);
  if (threadIdx.x == 0 && farthest && best) atomicMax(farthest, best);
}

__global__ void __launch_bounds__(kThreads) radius_kernel(const Key* keys, int64_t k, float* radius) {
  for (int64_t j = int64_t{blockIdx.x} * kThreads + threadIdx.x; j < k; j += int64_t{gridDim.x} * kThreads)
    radius[j] = keys[j + 1] ? sqrtf(value_of(keys[j + 1])) : 0.0f;  // no key: no row is left
}

// ---------------------------------------------------------------- blocked lazy
// Candidates are the rows that a round picks among: at least so many are aimed at, and there is room for so many.
constexpr int kLeast = 128, kMost = 2048;
constexpr int kEach = kMost / kThreads;
constexpr int64_t kPicks = 512;  // of a round: more lower its cut so far that rows are refreshed before they need it
constexpr int64_t kShare = 10;   // pairs of candidates are at most this part of what plain passes would compare

struct Progress {
  int64_t picked;
  int finished;
};

struct Lazy {
  float *bound, *norms, *middle;  // [n] -1 for centers and excluded rows; [n]; [d]
  int *seen, *rows, *met;         // [n] centers met; the rows of this round, oldest first, and what they have met
  int* centers;                   // [n] labeled ones, then picks
  int* candidates;                // [kMost]
  float* between;                 // [kMost, kMost] distances of the candidates
  unsigned* bins;                 // [3, kBins]
  Progress* progress;             // [1]
};

Lazy carve_lazy(Carver& carver, int64_t n, int64_t d) {
  const int64_t most = std::min<int64_t>(n, kMost);
  Lazy s;
  s.bound = carver.take<float>(n);
  s.norms = carver.take<float>(n);
  s.middle = carver.take<float>(d);
  s.seen = carver.take<int>(n);
  s.rows = carver.take<int>(n);
  s.met = carver.take<int>(n);
  s.centers = carver.take<int>(n);
  s.candidates = carver.take<int>(most);
  s.between = carver.take<float>(most * most);
  s.bins = carver.take<unsigned>(3 * kBins);
  s.progress = carver.take<Progress>(1);
  return s;
}

__device__ __forceinline__ Key key_at(const Lazy& s, int64_t row) {
  const float bound = s.bound[row];
  return bound < 0.0f ? 0 : make_key(bound, row);
}

// Whole grid: all rows meet the first center.
template <class T>
__device__ void start(const Euclidean<T>& metric, const Lazy& s, const int64_t* labeled, int64_t n_labeled,
                      const int64_t* excluded, int64_t n_excluded, int64_t first, const Selection& out) {
  const int64_t stride = int64_t{gridDim.x} * kThreads, begin = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  metric.find_middle();
  for (int64_t b = begin; b < 3 * kBins; b += stride) s.bins[b] = 0;
  for (int64_t j = begin; j < n_labeled; j += stride) s.centers[j] = static_cast<int>(labeled[j]);
  if (begin == 0) {
    *s.progress = {first >= 0, 0};
    *out.filled = 0;
    if (first >= 0) {
      s.centers[n_labeled] = static_cast<int>(first);
      out.picks[0] = first;
    }
  }
  dev::grid_sync();
  const int64_t center = s.centers[0];
  for (int64_t i = begin / kWarp; i < metric.n; i += stride / kWarp) {
    metric.find_norm(i);
    const float distance = metric.exact(i, center);
    if (threadIdx.x % kWarp != 0) continue;
    s.bound[i] = distance;
    s.seen[i] = 1;
  }
  dev::grid_sync();
  for (int64_t j = begin; j < n_labeled + (first >= 0); j += stride) s.bound[s.centers[j]] = -1.0f;
  for (int64_t j = begin; j < n_excluded; j += stride) s.bound[excluded[j]] = -1.0f;
  dev::grid_sync();
}

// One block. Only copies of centers are left: the free rows from `row` on, in order.
__device__ void fill(const Lazy& s, int64_t n, int64_t row, int64_t picked, int64_t k, const Selection& out) {
  if (threadIdx.x == 0) *out.filled = k - picked;
  for (; picked < k; row += kThreads) {
    const int64_t i = row + threadIdx.x;
    const bool free = i < n && s.bound[i] >= 0.0f;
    int rank;
    const int found = block_rank(free, rank);
    if (free && picked + rank < k) {
      out.picks[picked + rank] = i;
      out.radius[picked + rank] = 0.0f;
    }
    picked += found;
  }
}

// One block. Picks among the candidates, all up to date, while the best of them is above the cut, which no other row
// is above.
__device__ void pick_among(const Lazy& s, int64_t n, int64_t count, Key cut, int64_t n_labeled, int64_t k,
                           const Selection& out) {
  AUTOAL_SHARED(chosen, int[1]);
  int row[kEach];
  float bound[kEach];
  AUTOAL_UNROLL
  for (int e = 0; e < kEach; ++e) {
    const int i = e * kThreads + threadIdx.x;
    row[e] = i < count ? s.candidates[i] : 0;
    bound[e] = i < count ? s.bound[row[e]] : -1.0f;
  }
  const auto key = [&](int e) { return bound[e] < 0.0f ? Key{0} : make_key(bound[e], row[e]); };
  int64_t picked = s.progress->picked, copy = -1;
  bool finished = false;
  for (;;) {
    Key best = 0;
    AUTOAL_UNROLL
    for (int e = 0; e < kEach; ++e) best = best < key(e) ? key(e) : best;
    best = block_max(best);
    if (best <= cut) break;
    if (threadIdx.x == 0 && picked > 0) out.radius[picked - 1] = sqrtf(value_of(best));
    finished = picked == k || value_of(best) == 0.0f;
    if (picked < k && finished) copy = row_of(best);
    if (finished) break;

    AUTOAL_UNROLL
    for (int e = 0; e < kEach; ++e)
      if (key(e) == best) chosen[0] = e * kThreads + threadIdx.x;
    if (threadIdx.x == 0) {
      out.picks[picked] = row_of(best);
      s.centers[n_labeled + picked] = static_cast<int>(row_of(best));
    }
    ++picked;
    __syncthreads();
    const float* distances = s.between + chosen[0] * count;
    AUTOAL_UNROLL
    for (int e = 0; e < kEach; ++e) {
      const int i = e * kThreads + threadIdx.x;
      if (i >= count) continue;
      if (distances[i] < bound[e]) bound[e] = distances[i];
      if (i == chosen[0]) bound[e] = -1.0f;
    }
  }
  AUTOAL_UNROLL
  for (int e = 0; e < kEach; ++e) {
    if (e * kThreads + threadIdx.x >= count) continue;
    s.bound[row[e]] = bound[e];
    s.seen[row[e]] = static_cast<int>(n_labeled + picked);
  }
  if (threadIdx.x == 0) *s.progress = {picked, finished};
  __syncthreads();
  if (copy >= 0) fill(s, n, copy, picked, k, out);
}

// All rounds. The barriers of the grid stand between what some blocks write and others read.
template <class T>
__global__ void __launch_bounds__(kThreads, 2)
    lazy_kernel(Euclidean<T> metric, Lazy s, const int64_t* labeled, int64_t n_labeled, const int64_t* excluded,
                int64_t n_excluded, int64_t first, int64_t k, Selection out) {
  const int64_t stride = int64_t{gridDim.x} * kThreads, begin = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t n = metric.n;
  Bins bins{s.bins, 0};
  start(metric, s, labeled, n_labeled, excluded, n_excluded, first, out);
  int64_t most = kLeast, size = 4 * kLeast;  // of the candidates; of the rows that are brought up to date to find them
  for (;;) {
    const int64_t picked = s.progress->picked, known = n_labeled + picked;
    const Cut outer = select_largest(bins, n, size, [&](int64_t i) { return key_at(s, i); });
    if (outer.total == 0) {  // no row is left
      if (begin == 0) out.radius[k - 1] = 0.0f;
      return;
    }
    gather_by_seen(
        bins, n, [&](int64_t i) { return key_at(s, i) > outer.key ? i : -1; }, s.seen, known, kPanel, s.rows);
    dev::grid_sync();

    // A row of the very bound of the cut may be above it.
    const unsigned bits = __float_as_uint(value_of(outer.key));
    const float below = __uint_as_float(bits > 0 ? bits - 1 : 0);
    refresh_rows(metric, s.rows, outer.above, s.centers, known, s.bound, s.seen, [&](int64_t) { return below; }, s.met);
    dev::grid_sync();

    for (int64_t i = begin; i < outer.above; i += stride) s.seen[s.rows[i]] = s.met[i];
    const Cut inner = select_largest(bins, outer.above, most, [&](int64_t i) {
      const Key key = key_at(s, s.rows[i]);
      return key > outer.key ? key : 0;
    });
    const Key cut = outer.key < inner.key ? inner.key : outer.key;
    if (inner.above > 0) {
      unsigned* found = bins.take();
      for (int64_t top = begin - threadIdx.x; top < outer.above; top += stride) {
        const int64_t i = top + threadIdx.x;
        const bool above = i < outer.above && key_at(s, s.rows[i]) > cut;
        const unsigned place = warp_count(found, above ? 0 : -1);
        if (above) s.candidates[place] = s.rows[i];
      }
      dev::grid_sync();
      pair_distances(metric, s.candidates, inner.above, s.between);
      dev::grid_sync();
      if (blockIdx.x == 0) pick_among(s, n, inner.above, cut, n_labeled, k, out);
      dev::grid_sync();
      if (s.progress->finished) return;

      const int64_t picks = s.progress->picked - picked, pairs = n * 2 / kShare * picks / inner.above;
      most = kPicks * inner.above / picks;
      most = most < pairs ? most : pairs;
      most = most > kMost ? kMost : most < kLeast ? kLeast : most;
    }
    if (2 * inner.total < most) size *= 8 * inner.total < most ? 4 : 2;
    if (inner.total > 2 * most) size /= 2;
    size = size > n ? n : size < most ? most : size;
  }
}

// ---------------------------------------------------------------- launchers
constexpr int64_t kFewCenters = 64, kFewRows = 4096;  // are not worth the barriers of a round

template <class T>
void plain_passes(const Matrix& x, const float* scale, const int64_t* centers, int64_t n_centers,
                  const int64_t* excluded, int64_t n_excluded, int64_t first, int64_t k, const Selection& out,
                  const Plain& s, const Stream& stream) {
  const char* op = "kcenter_greedy";
  const T* data = static_cast<const T*>(x.data);
  const int64_t blocks = warp_blocks(x.rows), no_first = -1;
  const int64_t* none = nullptr;
  int64_t* no_pick = nullptr;
  Key* no_key = nullptr;
  launch(op, stream, start_kernel, std::min((x.rows + k) / kThreads + 1, kMaxBlocks), s, x.rows, k, out.filled);
  if (n_excluded > 0)
    launch(op, stream, exclude_kernel, std::min(n_excluded / kThreads + 1, kMaxBlocks), s, excluded, n_excluded);
  for (int64_t j = 0; j < n_centers; ++j)
    launch(op, stream, cover_kernel<T>, blocks, data, x.rows, x.cols, scale, s.distance, centers + j, no_first,
           static_cast<const Key*>(nullptr), no_pick, out.filled, j + 1 == n_centers ? s.keys : no_key);
  for (int64_t j = 0; j < k; ++j)
    launch(op, stream, cover_kernel<T>, blocks, data, x.rows, x.cols, scale, s.distance, none,
           j == 0 ? first : no_first, static_cast<const Key*>(s.keys + j), out.picks + j, out.filled, s.keys + j + 1);
  launch(op, stream, radius_kernel, std::min(k / kThreads + 1, kMaxBlocks), static_cast<const Key*>(s.keys), k,
         out.radius);
}

}  // namespace

size_t kcenter_greedy_workspace(int64_t n, int64_t d, int64_t k) {
  Carver plain(nullptr), lazy(nullptr);
  carve_plain(plain, n, k);
  carve_lazy(lazy, n, d);
  return std::max(plain.used(), lazy.used());
}

void kcenter_greedy(const Matrix& x, const float* scale, const int64_t* centers, int64_t n_centers,
                    const int64_t* excluded, int64_t n_excluded, int64_t first, int64_t k, Passes passes,
                    const Selection& out, void* workspace, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  Carver carver(workspace);
  with_type(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (k == 0 || plainly(passes, x.rows, k + n_centers, kFewCenters, kFewRows)) {
      plain_passes<T>(x, scale, centers, n_centers, excluded, n_excluded, first, k, out, carve_plain(carver, x.rows, k),
                      stream);
      return;
    }
    const Lazy s = carve_lazy(carver, x.rows, x.cols);
    const Euclidean<T> metric{static_cast<const T*>(x.data), scale, x.rows, x.cols, s.norms, s.middle};
    launch_together("kcenter_greedy", stream, lazy_kernel<T>, (x.rows + kTile - 1) / kTile, 0, metric, s, centers,
                    n_centers, excluded, n_excluded, first, k, out);
  });
}

}  // namespace autoal::cuda
