// kmeanspp: few picks by one launch that draws and one that lowers the weights each, many by rejection from stale
// weights in one launch; the host never waits.
#include "common/passes.h"
#include "cuda/draw.cuh"
#include "cuda/euclidean.cuh"
#include "cuda/rejection.cuh"

namespace autoal::cuda {
namespace {

__global__ void __launch_bounds__(kThreads) first_kernel(Draw draw, int64_t first, int64_t* pick, int64_t* filled) {
  if (blockIdx.x == 0 && threadIdx.x == 0) record_pick(draw, first, pick, filled);
}

__global__ void __launch_bounds__(kThreads) put_kernel(int64_t* target, int64_t value) {
  if (blockIdx.x == 0 && threadIdx.x == 0) *target = value;
}

// A block per chunk of rows: weight[i] = min(weight[i], |x_i - x_pick|^2), and the chunk's sum.
template <class T>
__global__ void __launch_bounds__(kThreads)
    cover_kernel(const T* __restrict__ x, int64_t n, int64_t d, Draw draw, const int64_t* pick, const int64_t* filled) {
  if (*filled > 0) return;  // all weights are 0 and stay so
  const int64_t begin = blockIdx.x * kDrawChunk, end = begin + kDrawChunk < n ? begin + kDrawChunk : n;
  double s = 0.0;
  for (int64_t i = begin + threadIdx.x / kWarp; i < end; i += kWarps) {
    const float distance = warp_squared_distance(x + i * d, 1.0f, x + *pick * d, 1.0f, d);
    if (threadIdx.x % kWarp != 0) continue;
    const float w = distance < draw.weight[i] ? distance : draw.weight[i];
    draw.weight[i] = w;
    s += w;
  }
  s = block_sum(s);
  if (threadIdx.x == 0) draw.sums[blockIdx.x] = s;
}

// ---------------------------------------------------------------- launchers
template <class T>
void plain_passes(const char* op, const Matrix& x, const int64_t* excluded, int64_t n_excluded, int64_t first,
                  int64_t k, uint64_t seed, const Selection& out, void* workspace, const Stream& stream) {
  Carver carver(workspace);
  const Draw draw = carve_draw(carver, x.rows);
  launch(op, stream, draw_start_kernel, std::min(x.rows / kThreads + 1, kMaxBlocks), draw, x.rows, out.filled);
  if (n_excluded > 0)
    launch(op, stream, leave_out_kernel, std::min(n_excluded / kThreads + 1, kMaxBlocks), draw, excluded, n_excluded);
  for (int64_t j = 0; j < k; ++j) {
    if (j == 0)
      launch(op, stream, first_kernel, 1, draw, first, out.picks, out.filled);
    else
      launch(op, stream, draw_kernel, 1, draw, x.rows, seed, static_cast<uint64_t>(j), out.picks + j, out.filled);
    if (j + 1 < k)
      launch(op, stream, cover_kernel<T>, draw_chunks(x.rows), static_cast<const T*>(x.data), x.rows, x.cols, draw,
             static_cast<const int64_t*>(out.picks + j), static_cast<const int64_t*>(out.filled));
  }
}

struct Lazy {
  float *norms, *middle;  // of the metric
  Rejection rejection;
};

Lazy carve_lazy(Carver& carver, int64_t n, int64_t d, int64_t k) {
  Lazy s;
  s.norms = carver.take<float>(n);
  s.middle = carver.take<float>(d);
  s.rejection = carve_rejection(carver, n, k);
  return s;
}

template <class T>
void by_rejection(const char* op, const Matrix& x, const int64_t* excluded, int64_t n_excluded, int64_t first,
                  int64_t k, uint64_t seed, const Selection& out, void* workspace, const Stream& stream) {
  Carver carver(workspace);
  const Lazy s = carve_lazy(carver, x.rows, x.cols, k);
  const Euclidean<T> metric{static_cast<const T*>(x.data), nullptr, x.rows, x.cols, s.norms, s.middle};
  launch(op, stream, put_kernel, 1, out.picks, first);
  launch_together(op, stream, rejection_kernel<Euclidean<T>>, warp_blocks(x.rows), 0, metric, s.rejection, x.cols,
                  excluded, n_excluded, k, seed, out.picks, out.filled);
}

}  // namespace

size_t kmeanspp_workspace(int64_t n, int64_t d, int64_t k) {
  Carver plain(nullptr), lazy(nullptr);
  carve_draw(plain, n);
  carve_lazy(lazy, n, d, k);
  return std::max(plain.used(), lazy.used());
}

void kmeanspp(const Matrix& x, const int64_t* excluded, int64_t n_excluded, int64_t first, int64_t k, uint64_t seed,
              Passes passes, const Selection& out, void* workspace, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  if (first < 0) first = static_cast<int64_t>(uniform(seed, 0) * static_cast<double>(x.rows));
  with_type(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const bool plain = plainly(passes, x.rows, k);
    (plain ? plain_passes<T> : by_rejection<T>)("kmeanspp", x, excluded, n_excluded, first, k, seed, out, workspace,
                                                stream);
  });
}

}  // namespace autoal::cuda
