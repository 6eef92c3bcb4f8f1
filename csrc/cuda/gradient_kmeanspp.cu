// gradient_kmeanspp (BADGE): D^2 sampling over g_i = a_i (x) h_i from its factors, as kmeanspp.cu samples; the host
// never waits.
#include "common/passes.h"
#include "cuda/draw.cuh"
#include "cuda/gradient.cuh"
#include "cuda/rejection.cuh"
#include "cuda/softmax.cuh"

namespace autoal::cuda {
namespace {

constexpr int kAhead = 4;  // numbers of a lane on their way at once

// What is known of the pool before the first pick.
struct Pool {
  float* a;                // [n, c]: p - onehot(argmax p)
  float *norms, *lengths;  // [n] |g|^2; [n] |h|
  Key* largest;            // [1] of the norms
};

Pool carve_pool(Carver& carver, int64_t n, int64_t c) {
  Pool pool;
  pool.a = carver.take<float>(n * c);
  pool.norms = carver.take<float>(n);
  pool.lengths = carver.take<float>(n);
  pool.largest = carver.take<Key>(1);
  return pool;
}

__global__ void __launch_bounds__(kThreads) start_kernel(Pool pool, int64_t n, int64_t* bad_row) {
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    *pool.largest = 0;
    *bad_row = n;
  }
}

// A warp per row: the factor a_i from logits or probs.
template <class T>
__global__ void __launch_bounds__(kThreads) residual_kernel(const T* __restrict__ x, int64_t n, int64_t c, int probs,
                                                            float tolerance, float* a, int64_t* bad_row) {
  const int lane = threadIdx.x % kWarp;
  for (int64_t i = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp; i < n; i += int64_t{gridDim.x} * kWarps) {
    Sums r = no_sums(probs);
    const float none = r.first;
    for (int64_t begin = lane; begin - lane < c; begin += kAhead * kWarp) {
      float numbers[kAhead][1];
      AUTOAL_UNROLL
      for (int k = 0; k < kAhead; ++k)
        numbers[k][0] = begin + k * kWarp < c ? to_float(x[i * c + begin + k * kWarp]) : none;
      add(r, numbers, kAhead, probs, [=](int place) { return static_cast<int>(begin) + place * kWarp; });
    }
    merge_lanes<true>(r, kWarp, probs);
    float others = 0.0f;  // p - 1 would cancel where the model is confident; the sum of the others does not
    for (int64_t j = lane; j < c; j += kWarp) {
      const float v = to_float(x[i * c + j]);
      const float p = probs ? v : dev::exponential(v - r.first) / r.z;
      if (j == r.mode) continue;
      a[i * c + j] = p;
      others += p;
    }
    others = warp_sum(others);
    if (lane != 0) continue;
    if (is_distribution(r, probs, tolerance))
      a[i * c + r.mode] = -others;
    else
      note_bad(bad_row, i);
  }
}

// Excluded rows have no gradient: none is the longest.
__global__ void __launch_bounds__(kThreads)
    exclude_kernel(Pool pool, int64_t c, const int64_t* excluded, int64_t n_excluded) {
  const int64_t stride = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < n_excluded * c; i += stride)
    pool.a[excluded[i / c] * c + i % c] = 0.0f;
}

// |g_i|^2 = |a_i|^2 |h_i|^2, and the row where it is largest.
template <class T>
__global__ void __launch_bounds__(kThreads) norm_kernel(Gradients<T> metric, Pool pool) {
  Key best = 0;
  for (int64_t i = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp; i < metric.n; i += int64_t{gridDim.x} * kWarps) {
    metric.measure(i, pool.norms, pool.lengths);
    if (threadIdx.x % kWarp != 0) continue;
    const Key k = make_key(pool.norms[i], i);
    best = best < k ? k : best;
  }
  best = block_max(best);
  if (threadIdx.x == 0 && best) atomicMax(pool.largest, best);
}

// -1: no row has a gradient.
__device__ __forceinline__ int64_t longest(const Pool& pool) {
  return value_of(*pool.largest) > 0.0f ? row_of(*pool.largest) : -1;
}

__global__ void __launch_bounds__(kThreads) put_first_kernel(Pool pool, int64_t* pick) {
  if (blockIdx.x == 0 && threadIdx.x == 0) *pick = longest(pool);
}

__global__ void __launch_bounds__(kThreads) first_kernel(Draw draw, Pool pool, int64_t* pick, int64_t* filled) {
  if (blockIdx.x == 0 && threadIdx.x == 0) record_pick(draw, longest(pool), pick, filled);
}

// A block per chunk of rows.
template <class T>
__global__ void __launch_bounds__(kThreads)
    cover_kernel(Gradients<T> metric, Draw draw, const int64_t* pick, const int64_t* filled) {
  if (*filled > 0) return;
  const int64_t begin = blockIdx.x * kDrawChunk, end = begin + kDrawChunk < metric.n ? begin + kDrawChunk : metric.n;
  double sum = 0.0;
  for (int64_t i = begin + threadIdx.x / kWarp; i < end; i += kWarps) {
    const float distance = metric.exact(i, *pick);
    if (threadIdx.x % kWarp != 0) continue;
    const float w = distance < draw.weight[i] ? distance : draw.weight[i];
    draw.weight[i] = w;
    sum += w;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) draw.sums[blockIdx.x] = sum;
}

// ---------------------------------------------------------------- launchers
template <class T>
void plain_passes(const char* op, const Gradients<T>& metric, const Pool& pool, const Draw& draw,
                  const int64_t* excluded, int64_t n_excluded, int64_t k, uint64_t seed, const Selection& out,
                  const Stream& stream) {
  const int64_t n = metric.n;
  launch(op, stream, draw_start_kernel, std::min(n / kThreads + 1, kMaxBlocks), draw, n, out.filled);
  if (n_excluded > 0)
    launch(op, stream, leave_out_kernel, std::min(n_excluded / kThreads + 1, kMaxBlocks), draw, excluded, n_excluded);
  for (int64_t j = 0; j < k; ++j) {
    if (j == 0)
      launch(op, stream, first_kernel, 1, draw, pool, out.picks, out.filled);
    else
      launch(op, stream, draw_kernel, 1, draw, n, seed, static_cast<uint64_t>(j), out.picks + j, out.filled);
    if (j + 1 < k)
      launch(op, stream, cover_kernel<T>, draw_chunks(n), metric, draw, static_cast<const int64_t*>(out.picks + j),
             static_cast<const int64_t*>(out.filled));
  }
}

}  // namespace

size_t gradient_kmeanspp_workspace(int64_t n, int64_t c, int64_t, int64_t k) {
  Carver pool(nullptr), plain(nullptr), lazy(nullptr);
  carve_pool(pool, n, c);
  carve_draw(plain, n);
  carve_rejection(lazy, n, k);
  return pool.used() + std::max(plain.used(), lazy.used());
}

void gradient_kmeanspp(const Matrix& outputs, Kind kind, float tolerance, const Matrix& embeddings,
                       const int64_t* excluded, int64_t n_excluded, int64_t k, uint64_t seed, Passes passes,
                       const Selection& out, int64_t* bad_row, void* workspace, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  Carver carver(workspace);
  const int64_t n = outputs.rows, c = outputs.cols, d = embeddings.cols;
  const Pool pool = carve_pool(carver, n, c);
  const char* op = "gradient_kmeanspp";
  launch(op, stream, start_kernel, 1, pool, n, bad_row);
  with_type(outputs.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(op, stream, residual_kernel<T>, warp_blocks(n), static_cast<const T*>(outputs.data), n, c,
           kind == Kind::kProbs ? 1 : 0, tolerance, pool.a, bad_row);
  });
  if (n_excluded > 0)
    launch(op, stream, exclude_kernel, std::min(n_excluded * c / kThreads + 1, kMaxBlocks), pool, c, excluded,
           n_excluded);
  with_type(embeddings.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* h = static_cast<const T*>(embeddings.data);
    const Gradients<T> metric{pool.a, h, n, c, d, pool.norms, pool.lengths};
    launch(op, stream, norm_kernel<T>, warp_blocks(n), metric, pool);
    if (plainly(passes, n, k))
      return plain_passes(op, metric, pool, carve_draw(carver, n), excluded, n_excluded, k, seed, out, stream);
    launch(op, stream, put_first_kernel, 1, pool, out.picks);
    launch_together(op, stream, rejection_kernel<Gradients<T>>, warp_blocks(n), 0, metric,
                    carve_rejection(carver, n, k), c + d, excluded, n_excluded, k, seed, out.picks, out.filled);
  });
}

}  // namespace autoal::cuda
