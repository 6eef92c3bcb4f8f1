// uncertainty_scores, squared_norms.
#include "cuda/rows.cuh"
#include "cuda/softmax.cuh"

namespace autoal::cuda {
namespace {

constexpr int kVectors = 8;  // of a lane that are on their way at once
constexpr int kTurns = 8;    // of a warp for one row, above which a block takes it

// A group of 2^log_width lanes per row, up to a warp, or a block; every measure from one read.
template <class Row>
__global__ void __launch_bounds__(kThreads)
    uncertainty_kernel(const void* x, int64_t n, int c, bool probs, float tolerance, int log_width,
                       UncertaintyScores out, int64_t* bad_row) {
  constexpr int kRun = Row::kNumbers;
  const int width = 1 << log_width, lane = threadIdx.x & (width - 1), vectors = (c + kRun - 1) / kRun;
  const uint32_t padding = padding_of(typename Row::Number{}, probs);
  const int64_t rows_per_block = kThreads >> log_width;
  // All lanes of a warp stay in the loop together: the merge needs them.
  for (int64_t base = blockIdx.x * rows_per_block; base < n; base += gridDim.x * rows_per_block) {
    const int64_t i = base + (threadIdx.x >> log_width);
    const Row row(x, (i < n ? i : n - 1) * c, 1, c);
    Sums r = no_sums(probs);
    for (int first = 0; first < vectors; first += kVectors * width) {
      Part<Row, kVectors> part;
      float numbers[kVectors][kRun];
      part.load(row, first + lane, width, padding);
      part.read(numbers);
      add(r, numbers, (vectors - first + width - 1) >> log_width, probs, [](int) { return kNoClass; });
    }
    merge<false>(r, width, probs);
    if (lane != 0 || i >= n) continue;
    if (!is_distribution(r, probs, tolerance)) note_bad(bad_row, i);
    const float scale = 1.0f / r.z, best = probs ? r.first : scale;
    const float next = probs ? r.second : dev::exponential(r.second - r.first) * scale;
    out.entropy[i] = fmaxf(entropy_of(r, probs, scale), 0.0f);
    out.margin[i] = 1.0f - (best - next);
    out.least_confidence[i] = 1.0f - best;
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

// ---------------------------------------------------------------- launchers
}  // namespace

void uncertainty_scores(const Matrix& x, Kind kind, float tolerance, const UncertaintyScores& out, int64_t* bad_row,
                        const Stream& stream) {
  const DeviceGuard guard(stream.device);
  launch("uncertainty_scores", stream, set_kernel<int64_t>, 1, bad_row, x.rows);
  const uint64_t places = reinterpret_cast<uintptr_t>(x.data) | (x.cols * bytes_of(x.dtype));
  with_rows(x.dtype, places, [&](auto tag) {
    using Row = typename decltype(tag)::type;
    const int64_t numbers = kVectors * Row::kNumbers;  // of a lane
    const int log_width =
        x.cols > kTurns * kWarp * numbers ? log_lanes(x.cols, 1, kThreads) : log_lanes(x.cols, numbers);
    const int64_t rows = kThreads >> log_width;
    launch("uncertainty_scores", stream, uncertainty_kernel<Row>, std::min((x.rows + rows - 1) / rows, kMaxBlocks),
           x.data, x.rows, static_cast<int>(x.cols), kind == Kind::kProbs, tolerance, log_width, out, bad_row);
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
