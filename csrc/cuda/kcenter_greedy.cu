// kcenter_greedy: one launch per center. A launch finds its center in the keys that the one before it left in device
// memory, so the host never waits.
#include <limits>

#include "cuda/common.cuh"

namespace autoal::cuda {
namespace {

struct State {
  float* distance;  // [n] squared distance to the nearest center; -1 for centers
  Key* keys;        // [k + 1]: keys[j] = the farthest row when j rows are picked
};

State carve(Carver& carver, int64_t n, int64_t k) {
  State s;
  s.distance = carver.take<float>(n);
  s.keys = carver.take<Key>(k + 1);
  return s;
}

__global__ void __launch_bounds__(kThreads) start_kernel(State s, int64_t n, int64_t k, int64_t* filled) {
  const int64_t stride = int64_t{gridDim.x} * kThreads, begin = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  for (int64_t i = begin; i < n; i += stride) s.distance[i] = __uint_as_float(0x7f800000u);
  for (int64_t j = begin; j <= k; j += stride) s.keys[j] = 0;
  if (begin == 0) *filled = 0;
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
    radius[j] = keys[j + 1] ? sqrtf(value_of(keys[j + 1])) : 0.0f;  // no key: every row is a center
}

// ---------------------------------------------------------------- launchers
}  // namespace

size_t kcenter_greedy_workspace(int64_t n, int64_t, int64_t k) {
  Carver carver(nullptr);
  carve(carver, n, k);
  return carver.used();
}

void kcenter_greedy(const Matrix& x, const float* scale, const int64_t* centers, int64_t n_centers, int64_t first,
                    int64_t k, const Selection& out, void* workspace, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  Carver carver(workspace);
  const State s = carve(carver, x.rows, k);
  const int64_t* none = nullptr;
  int64_t* no_pick = nullptr;
  Key* no_key = nullptr;
  launch("kcenter_greedy", stream, start_kernel, std::min((x.rows + k) / kThreads + 1, kMaxBlocks), s, x.rows, k,
         out.filled);
  with_type(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* data = static_cast<const T*>(x.data);
    const int64_t blocks = warp_blocks(x.rows), no_first = -1;
    for (int64_t j = 0; j < n_centers; ++j)
      launch("kcenter_greedy", stream, cover_kernel<T>, blocks, data, x.rows, x.cols, scale, s.distance, centers + j,
             no_first, static_cast<const Key*>(nullptr), no_pick, out.filled, j + 1 == n_centers ? s.keys : no_key);
    for (int64_t j = 0; j < k; ++j)
      launch("kcenter_greedy", stream, cover_kernel<T>, blocks, data, x.rows, x.cols, scale, s.distance, none,
             j == 0 ? first : no_first, static_cast<const Key*>(s.keys + j), out.picks + j, out.filled, s.keys + j + 1);
  });
  launch("kcenter_greedy", stream, radius_kernel, std::min(k / kThreads + 1, kMaxBlocks),
         static_cast<const Key*>(s.keys), k, out.radius);
}

}  // namespace autoal::cuda
