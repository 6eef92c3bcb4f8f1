// uncertainty_scores, mc_uncertainty_scores, squared_norms.
#include "cuda/softmax.cuh"

namespace autoal::cuda {
namespace {

__global__ void __launch_bounds__(kThreads) set_kernel(int64_t* target, int64_t value) {
  if (blockIdx.x == 0 && threadIdx.x == 0) *target = value;
}

__device__ __forceinline__ void note_bad(int64_t* bad_row, int64_t row) {
  atomicMin(reinterpret_cast<unsigned long long*>(bad_row), static_cast<unsigned long long>(row));
}

// A group of `width` lanes per row; every measure from one read.
template <class T>
__global__ void __launch_bounds__(kThreads)
    uncertainty_kernel(const T* __restrict__ x, int64_t n, int64_t c, int probs, float tolerance, int width,
                       UncertaintyScores out, int64_t* bad_row) {
  const int64_t rows_per_block = kThreads / width;
  const int lane = threadIdx.x % width;
  // All lanes of a warp stay in the loop together: the merge needs them.
  for (int64_t base = blockIdx.x * rows_per_block; base < n; base += gridDim.x * rows_per_block) {
    const int64_t i = base + threadIdx.x / width;
    RowStats r = empty_stats();
    if (i < n)
      for (int64_t j = lane; j < c; j += width) {
        const float v = to_float(x[i * c + j]);
        if (probs)
          add_prob(r, v, j);
        else
          add_logit(r, v, j);
      }
    r = merge_lanes(r, width, probs);
    if (lane != 0 || i >= n) continue;
    if (!is_distribution(r, probs, tolerance)) note_bad(bad_row, i);
    const float first = probs ? r.first : 1.0f / r.z;
    const float second = c == 1 ? 0.0f : probs ? r.second : expf(r.second - r.first) / r.z;
    out.entropy[i] = entropy_of(r, probs);
    out.margin[i] = 1.0f - (first - second);
    out.least_confidence[i] = 1.0f - first;
  }
}

// A block per sample. scratch: 4 c floats a block: first sample's p, sums of deviations from it and of their squares,
// votes.
template <class T>
__global__ void __launch_bounds__(kThreads)
    mc_uncertainty_kernel(const T* __restrict__ x, int64_t t, int64_t n, int64_t c, int64_t stride_t, int64_t stride_n,
                          int64_t stride_c, int probs, float tolerance, MCUncertaintyScores out, int64_t* bad_row,
                          float* scratch) {
  AUTOAL_SHARED(warp_stats, RowStats[kWarps]);
  float* first = scratch + blockIdx.x * 4 * c;
  float *shift = first + c, *square = shift + c, *votes = square + c;
  for (int64_t i = blockIdx.x; i < n; i += gridDim.x) {
    for (int64_t j = threadIdx.x; j < c; j += kThreads) shift[j] = square[j] = votes[j] = 0.0f;
    float expected = 0.0f;
    bool good = true;
    for (int64_t k = 0; k < t; ++k) {
      const T* row = x + k * stride_t + i * stride_n;
      RowStats r = empty_stats();
      for (int64_t j = threadIdx.x; j < c; j += kThreads) {
        const float v = to_float(row[j * stride_c]);
        if (probs)
          add_prob(r, v, j);
        else
          add_logit(r, v, j);
      }
      r = merge_lanes(r, kWarp, probs);
      if (threadIdx.x % kWarp == 0) warp_stats[threadIdx.x / kWarp] = r;
      __syncthreads();
      r = warp_stats[0];
      for (int w = 1; w < kWarps; ++w) r = merge(r, warp_stats[w], probs);
      __syncthreads();
      good = good && is_distribution(r, probs, tolerance);
      expected += entropy_of(r, probs);
      for (int64_t j = threadIdx.x; j < c; j += kThreads) {
        const float v = to_float(row[j * stride_c]);
        const float p = probs ? v : expf(v - r.first) / r.z;
        if (j == r.mode) votes[j] += 1.0f;
        if (k == 0) {  // deviations from the first sample: no cancellation in the variance
          first[j] = p;
        } else {
          shift[j] += p - first[j];
          square[j] += (p - first[j]) * (p - first[j]);
        }
      }
    }
    const float inverse = 1.0f / static_cast<float>(t);
    float deviation = 0.0f, h = 0.0f, most = 0.0f;
    for (int64_t j = threadIdx.x; j < c; j += kThreads) {
      const float mean = shift[j] * inverse, variance = square[j] * inverse - mean * mean;
      deviation += variance > 0.0f ? sqrtf(variance) : 0.0f;
      h -= p_log_p(first[j] + mean);
      most = votes[j] > most ? votes[j] : most;
    }
    deviation = block_sum(deviation);
    h = block_sum(h);
    const Key mode = block_max(make_key(most, 0));
    if (threadIdx.x == 0) {
      if (!good) note_bad(bad_row, i);
      const float difference = h - expected * inverse;
      out.bald[i] = difference > 0.0f ? difference : 0.0f;
      out.entropy[i] = h > 0.0f ? h : 0.0f;
      out.mean_std[i] = deviation / static_cast<float>(c);
      out.variation_ratio[i] = (static_cast<float>(t) - value_of(mode)) / static_cast<float>(t);
    }
    __syncthreads();  // the scratch is written again
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    squared_norms_kernel(const T* __restrict__ x, int64_t n, int64_t d, float* __restrict__ out) {
  for (int64_t i = int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp; i < n; i += int64_t{gridDim.x} * kWarps) {
    const float s = warp_dot(x + i * d, x + i * d, d);
    if (threadIdx.x % kWarp == 0) out[i] = s;
  }
}

int64_t mc_blocks(int64_t n) { return std::max<int64_t>(1, std::min(n, kMaxBlocks)); }

// ---------------------------------------------------------------- launchers
}  // namespace

void uncertainty_scores(const Matrix& x, Kind kind, float tolerance, const UncertaintyScores& out, int64_t* bad_row,
                        const Stream& stream) {
  const DeviceGuard guard(stream.device);
  int width = 1;  // lanes per row: enough for about four classes each
  while (width < kWarp && width * 4 < x.cols) width *= 2;
  const int64_t rows = kThreads / width;
  launch("uncertainty_scores", stream, set_kernel, 1, bad_row, x.rows);
  with_type(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch("uncertainty_scores", stream, uncertainty_kernel<T>, std::min((x.rows + rows - 1) / rows, kMaxBlocks),
           static_cast<const T*>(x.data), x.rows, x.cols, kind == Kind::kProbs ? 1 : 0, tolerance, width, out, bad_row);
  });
}

size_t mc_uncertainty_scores_workspace(int64_t, int64_t n, int64_t c) {
  return static_cast<size_t>(mc_blocks(n)) * 4 * c * sizeof(float);
}

void mc_uncertainty_scores(const Samples& x, Kind kind, float tolerance, const MCUncertaintyScores& out,
                           int64_t* bad_row, void* workspace, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  launch("mc_uncertainty_scores", stream, set_kernel, 1, bad_row, x.n);
  with_type(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch("mc_uncertainty_scores", stream, mc_uncertainty_kernel<T>, mc_blocks(x.n), static_cast<const T*>(x.data),
           x.t, x.n, x.c, x.stride_t, x.stride_n, x.stride_c, kind == Kind::kProbs ? 1 : 0, tolerance, out, bad_row,
           static_cast<float*>(workspace));
  });
}

void squared_norms(const Matrix& x, float* out, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  with_type(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    launch("squared_norms", stream, squared_norms_kernel<T>, warp_blocks(x.rows), static_cast<const T*>(x.data), x.rows,
           x.cols, out);
  });
}

}  // namespace autoal::cuda
