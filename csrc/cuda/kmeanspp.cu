// kmeanspp: per pick one launch that draws and one that lowers the weights; the host never waits.
#include "cuda/draw.cuh"

namespace autoal::cuda {
namespace {

__global__ void __launch_bounds__(kThreads)
    first_kernel(Draw draw, int64_t n, int64_t first, uint64_t seed, int64_t* pick, int64_t* filled) {
  if (blockIdx.x == 0 && threadIdx.x == 0)
    record_pick(draw, first >= 0 ? first : static_cast<int64_t>(uniform(seed, 0) * static_cast<double>(n)), pick,
                filled);
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
}  // namespace

size_t kmeanspp_workspace(int64_t n, int64_t, int64_t) {
  Carver carver(nullptr);
  carve_draw(carver, n);
  return carver.used();
}

void kmeanspp(const Matrix& x, int64_t first, int64_t k, uint64_t seed, const Selection& out, void* workspace,
              const Stream& stream) {
  const DeviceGuard guard(stream.device);
  Carver carver(workspace);
  const Draw draw = carve_draw(carver, x.rows);
  const char* op = "kmeanspp";
  launch(op, stream, draw_start_kernel, std::min(x.rows / kThreads + 1, kMaxBlocks), draw, x.rows, out.filled);
  with_type(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (int64_t j = 0; j < k; ++j) {
      if (j == 0)
        launch(op, stream, first_kernel, 1, draw, x.rows, first, seed, out.picks, out.filled);
      else
        launch(op, stream, draw_kernel, 1, draw, x.rows, seed, static_cast<uint64_t>(j), out.picks + j, out.filled);
      if (j + 1 < k)
        launch(op, stream, cover_kernel<T>, draw_chunks(x.rows), static_cast<const T*>(x.data), x.rows, x.cols, draw,
               static_cast<const int64_t*>(out.picks + j), static_cast<const int64_t*>(out.filled));
    }
  });
}

}  // namespace autoal::cuda
