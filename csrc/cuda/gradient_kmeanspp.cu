// gradient_kmeanspp (BADGE): D^2 sampling over g_i = a_i (x) h_i from its factors; the host never waits.
#include "cuda/draw.cuh"
#include "cuda/softmax.cuh"

namespace autoal::cuda {
namespace {

struct State {
  Draw draw;
  float* a;      // [n, c]: p - onehot(argmax p)
  float* norm;   // [n]: |g|^2
  Key* largest;  // [1]
};

State carve(Carver& carver, int64_t n, int64_t c) {
  State s;
  s.draw = carve_draw(carver, n);
  s.a = carver.take<float>(n * c);
  s.norm = carver.take<float>(n);
  s.largest = carver.take<Key>(1);
  return s;
}

__global__ void __launch_bounds__(kThreads) start_kernel(State s, int64_t n, int64_t* bad_row) {
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    *s.largest = 0;
    *bad_row = n;
  }
}

// A warp per row: the factor a_i from logits or probs.
template <class T>
__global__ void __launch_bounds__(kThreads) residual_kernel(const T* __restrict__ x, int64_t n, int64_t c, int probs,
                                                            float tolerance, State s, int64_t* bad_row) {
  const int lane = threadIdx.x % kWarp;
  for (int64_t i = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp; i < n; i += int64_t{gridDim.x} * kWarps) {
    RowStats r = empty_stats();
    for (int64_t j = lane; j < c; j += kWarp) {
      const float v = to_float(x[i * c + j]);
      if (probs)
        add_prob(r, v, j);
      else
        add_logit(r, v, j);
    }
    r = merge_lanes(r, kWarp, probs);
    float others = 0.0f;  // p - 1 would cancel where the model is confident; the sum of the others does not
    for (int64_t j = lane; j < c; j += kWarp) {
      const float v = to_float(x[i * c + j]);
      const float p = probs ? v : expf(v - r.first) / r.z;
      if (j == r.mode) continue;
      s.a[i * c + j] = p;
      others += p;
    }
    others = warp_sum(others);
    if (lane == 0) {
      if (is_distribution(r, probs, tolerance))
        s.a[i * c + r.mode] = -others;
      else
        atomicMin(reinterpret_cast<unsigned long long*>(bad_row), static_cast<unsigned long long>(i));
    }
  }
}

// |g_i|^2 = |a_i|^2 |h_i|^2, and the row where it is largest.
template <class T>
__global__ void __launch_bounds__(kThreads)
    norm_kernel(const T* __restrict__ h, int64_t n, int64_t c, int64_t d, State s) {
  Key best = 0;
  for (int64_t i = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp; i < n; i += int64_t{gridDim.x} * kWarps) {
    const float aa = warp_dot<float>(s.a + i * c, s.a + i * c, c), hh = warp_dot(h + i * d, h + i * d, d);
    if (threadIdx.x % kWarp != 0) continue;
    s.norm[i] = __fmul_rn(aa, hh);
    const Key k = make_key(s.norm[i], i);
    best = best < k ? k : best;
  }
  best = block_max(best);
  if (threadIdx.x == 0 && best) atomicMax(s.largest, best);
}

__global__ void __launch_bounds__(kThreads) first_kernel(State s, int64_t* pick, int64_t* filled) {
  if (blockIdx.x == 0 && threadIdx.x == 0)
    record_pick(s.draw, value_of(*s.largest) > 0.0f ? row_of(*s.largest) : -1, pick, filled);
}

// A block per chunk of rows. The product of the factors rounds as the norm does: copies are at distance 0 exactly.
template <class T>
__global__ void __launch_bounds__(kThreads) cover_kernel(const T* __restrict__ h, int64_t n, int64_t c, int64_t d,
                                                         State s, const int64_t* pick, const int64_t* filled) {
  if (*filled > 0) return;
  const int64_t begin = blockIdx.x * kDrawChunk, end = begin + kDrawChunk < n ? begin + kDrawChunk : n, center = *pick;
  double sum = 0.0;
  for (int64_t i = begin + threadIdx.x / kWarp; i < end; i += kWarps) {
    const float aa = warp_dot<float>(s.a + i * c, s.a + center * c, c), hh = warp_dot(h + i * d, h + center * d, d);
    if (threadIdx.x % kWarp != 0) continue;
    const float between = (s.norm[i] + s.norm[center]) - 2.0f * __fmul_rn(aa, hh);
    float w = between > 0.0f ? between : 0.0f;
    w = i == center ? 0.0f : w < s.draw.weight[i] ? w : s.draw.weight[i];
    s.draw.weight[i] = w;
    sum += w;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) s.draw.sums[blockIdx.x] = sum;
}

// ---------------------------------------------------------------- launchers
}  // namespace

size_t gradient_kmeanspp_workspace(int64_t n, int64_t c, int64_t, int64_t) {
  Carver carver(nullptr);
  carve(carver, n, c);
  return carver.used();
}

void gradient_kmeanspp(const Matrix& outputs, Kind kind, float tolerance, const Matrix& embeddings, int64_t k,
                       uint64_t seed, const Selection& out, int64_t* bad_row, void* workspace, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  Carver carver(workspace);
  const int64_t n = outputs.rows, c = outputs.cols, d = embeddings.cols;
  const State s = carve(carver, n, c);
  const char* op = "gradient_kmeanspp";
  launch(op, stream, start_kernel, 1, s, n, bad_row);
  launch(op, stream, draw_start_kernel, std::min(n / kThreads + 1, kMaxBlocks), s.draw, n, out.filled);
  with_type(outputs.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch(op, stream, residual_kernel<T>, warp_blocks(n), static_cast<const T*>(outputs.data), n, c,
           kind == Kind::kProbs ? 1 : 0, tolerance, s, bad_row);
  });
  with_type(embeddings.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* h = static_cast<const T*>(embeddings.data);
    launch(op, stream, norm_kernel<T>, warp_blocks(n), h, n, c, d, s);
    for (int64_t j = 0; j < k; ++j) {
      if (j == 0)
        launch(op, stream, first_kernel, 1, s, out.picks, out.filled);
      else
        launch(op, stream, draw_kernel, 1, s.draw, n, seed, static_cast<uint64_t>(j), out.picks + j, out.filled);
      if (j + 1 < k)
        launch(op, stream, cover_kernel<T>, draw_chunks(n), h, n, c, d, s, static_cast<const int64_t*>(out.picks + j),
               static_cast<const int64_t*>(out.filled));
    }
  });
}

}  // namespace autoal::cuda
