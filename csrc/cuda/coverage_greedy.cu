// coverage_greedy: a bound per row, brought up to date only for rows that may have the largest gain. How many that are
// is known to the device alone, so the host enqueues for every pick the rounds that the worst case needs, each for
// eight times as many rows as the one before; a round that finds the pick decided returns at once.
#include "cuda/common.cuh"

namespace autoal::cuda {
namespace {

constexpr int kTile = 64;             // rows, and targets, whose distances a block takes together
constexpr int kDepth = 16;            // columns of these in shared memory
constexpr int kEach = 4;              // rows, and targets, of a thread
constexpr int kSide = kTile / kEach;  // threads along a side of the tile
static_assert(kSide * kSide == kThreads, "a thread for each part of a tile");
constexpr int64_t kChunk = 16 * kTile;   // targets that are summed before the sum is put down
constexpr int64_t kSplitRows = 1 << 13;  // up to so many rows, chunks go to different blocks
constexpr int64_t kFirstRound = 256;     // rows
constexpr int64_t kGrowth = 8;
constexpr int kShift = 15;  // of a positive float's bits: sign, exponent and eight bits of the mantissa are its bin
constexpr int64_t kBins = int64_t{1} << (32 - kShift - 1);

struct State {
  float *bound, *covered;     // [n]; a bound is -1 where a row cannot be picked
  int *known, *rows;          // [n] how many picks a bound knows of; [n] the rows of this round
  unsigned* counts;           // [kBins] rows out of date by their bound
  double* sums;               // [kSplitRows, chunks]
  Key *fresh, *stale;         // [1] the largest of the bounds that are up to date, and of the others
  int *decided, *threshold;   // [1] whether fresh is the pick; the lowest bin of this round
  unsigned long long* count;  // [1] of rows
};

int64_t chunks(int64_t n_targets) { return std::max<int64_t>(1, (n_targets + kChunk - 1) / kChunk); }

State carve(Carver& carver, int64_t n, int64_t n_targets) {
  State s;
  s.bound = carver.take<float>(n);
  s.covered = carver.take<float>(n);
  s.known = carver.take<int>(n);
  s.rows = carver.take<int>(n);
  s.counts = carver.take<unsigned>(kBins);
  s.sums = carver.take<double>(std::min(n, kSplitRows) * chunks(n_targets));
  s.fresh = carver.take<Key>(1);
  s.stale = carver.take<Key>(1);
  s.decided = carver.take<int>(1);
  s.threshold = carver.take<int>(1);
  s.count = carver.take<unsigned long long>(1);
  return s;
}

// What the kernels read.
template <class T>
struct Problem {
  const T* x;  // [n, d]
  const float *scale, *gain, *own, *weights;
  const int64_t* targets;
  int64_t n, d, n_targets, chunks;
  float gamma;

  __device__ __forceinline__ float at(int64_t row, int64_t column) const {
    const float v = to_float(x[row * d + column]);
    return scale ? __fmul_rn(v, scale[row]) : v;
  }

  // Of a squared distance: differences, whose squares are added up column by column, wherever two rows meet. So what a
  // pick covers is to the bit what its copies would, and rows may lie far off the origin.
  __device__ __forceinline__ float similarity(float square) const { return expf(__fmul_rn(-gamma, square)); }
};

__device__ __forceinline__ float add_square(float a, float b, float square) {
  const float difference = a - b;
  return __fmaf_rn(difference, difference, square);
}

__global__ void __launch_bounds__(kThreads) start_kernel(State s, int64_t n, const float* covered, int64_t* filled) {
  const int64_t stride = int64_t{gridDim.x} * kThreads, begin = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  for (int64_t i = begin; i < n; i += stride) {
    s.bound[i] = __uint_as_float(0x7f800000u);
    s.covered[i] = covered[i];
    s.known[i] = -1;
  }
  for (int64_t b = begin; b < kBins; b += stride) s.counts[b] = 0;
  if (begin == 0) {
    *s.fresh = *s.stale = 0;
    *s.decided = 0;
    *s.count = 0;
    *filled = 0;
  }
}

__global__ void __launch_bounds__(kThreads) exclude_kernel(State s, const int64_t* excluded, int64_t n) {
  for (int64_t j = int64_t{blockIdx.x} * kThreads + threadIdx.x; j < n; j += int64_t{gridDim.x} * kThreads)
    s.bound[excluded[j]] = -1.0f;
}

__device__ __forceinline__ int bin_of(float bound) { return static_cast<int>(__float_as_uint(bound) >> kShift); }

// The best bounds, and how many out of date are in each bin.
__global__ void __launch_bounds__(kThreads) scan_kernel(State s, int64_t n, int step) {
  if (*s.decided) return;
  Key fresh = 0, stale = 0;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < n; i += int64_t{gridDim.x} * kThreads) {
    const float bound = s.bound[i];
    if (bound < 0.0f) continue;
    const Key key = make_key(bound, i);
    if (s.known[i] == step || bound == 0.0f) {  // nothing lowers 0
      fresh = fresh < key ? key : fresh;
    } else {
      stale = stale < key ? key : stale;
      atomicAdd(s.counts + bin_of(bound), 1u);
    }
  }
  fresh = block_max(fresh);
  stale = block_max(stale);
  if (threadIdx.x != 0) return;
  if (fresh) atomicMax(s.fresh, fresh);
  if (stale) atomicMax(s.stale, stale);
}

// One block. Either the pick is decided, or the round's rows are those of the highest bins: `most` together, but of one
// bin at least. Makes ready for the next scan.
__global__ void __launch_bounds__(kThreads) choose_kernel(State s, int64_t most) {
  if (*s.decided) return;
  AUTOAL_SHARED(parts, int64_t[kThreads]);
  constexpr int kPart = static_cast<int>(kBins / kThreads);
  const int top = static_cast<int>(kBins) - static_cast<int>(threadIdx.x) * kPart;  // thread 0 has the highest bins
  int64_t sum = 0;
  for (int b = top - kPart; b < top; ++b) sum += s.counts[b];
  parts[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    int64_t above = 0;
    int part = 0;
    while (part < kThreads && (parts[part] == 0 || above + parts[part] <= most)) above += parts[part++];
    int b = static_cast<int>(kBins) - part * kPart;
    for (; b > 0; --b) {
      const int64_t here = s.counts[b - 1];
      if (above > 0 && above + here > most) break;
      above += here;
    }
    *s.threshold = b;
    *s.count = 0;
    *s.decided = *s.fresh > *s.stale;
    if (!*s.decided) *s.fresh = 0;
    *s.stale = 0;
  }
  __syncthreads();
  for (int b = top - kPart; b < top; ++b) s.counts[b] = 0;
}

__global__ void __launch_bounds__(kThreads) collect_kernel(State s, int64_t n, int step) {
  if (*s.decided) return;
  const int threshold = *s.threshold;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < n; i += int64_t{gridDim.x} * kThreads) {
    const float bound = s.bound[i];
    if (bound <= 0.0f || s.known[i] == step || bin_of(bound) < threshold) continue;
    s.rows[atomicAdd(s.count, 1ull)] = static_cast<int>(i);
  }
}

// Adds to totals what the thread's rows of a tile gain by its targets of the tile that begins at target `first`.
template <class T>
__device__ __forceinline__ void tile_gains(const Problem<T>& p, const State& s, const int64_t (&rows)[kEach],
                                           const int64_t* tile_rows, int64_t first, double (&totals)[kEach]) {
  AUTOAL_SHARED(a, float[kDepth][kTile + 1]);
  AUTOAL_SHARED(b, float[kDepth][kTile + 1]);
  const int x = threadIdx.x % kSide, y = threadIdx.x / kSide;
  float squares[kEach][kEach] = {};
  for (int64_t begin = 0; begin < p.d; begin += kDepth) {
    const int64_t j = begin + threadIdx.x % kDepth;
    for (int r = threadIdx.x / kDepth; r < kTile; r += kThreads / kDepth) {
      const int64_t t = first + r;
      a[threadIdx.x % kDepth][r] = j < p.d && tile_rows[r] >= 0 ? p.at(tile_rows[r], j) : 0.0f;
      b[threadIdx.x % kDepth][r] = j < p.d && t < p.n_targets ? p.at(p.targets[t], j) : 0.0f;
    }
    __syncthreads();
    for (int k = 0; k < kDepth; ++k)
      for (int r = 0; r < kEach; ++r)
        for (int c = 0; c < kEach; ++c)
          squares[r][c] = add_square(a[k][y * kEach + r], b[k][x + c * kSide], squares[r][c]);
    __syncthreads();
  }
  for (int c = 0; c < kEach; ++c) {
    const int64_t t = first + x + c * kSide;
    if (t >= p.n_targets) continue;
    const int64_t target = p.targets[t];
    const float covered = s.covered[target], weight = p.weights[t];
    for (int r = 0; r < kEach; ++r) {
      if (rows[r] < 0 || (p.own && rows[r] == target)) continue;
      const float extra = p.similarity(squares[r][c]) - covered;
      if (extra > 0.0f) totals[r] += weight * extra;
    }
  }
}

template <class T>
__device__ __forceinline__ void put_bound(const Problem<T>& p, const State& s, int64_t row, double sum, int step) {
  const double own = p.own ? p.own[row] * (1.0 - s.covered[row]) : 0.0;
  s.bound[row] = static_cast<float>(p.gain[row] * (own + sum));
  s.known[row] = step;
}

// Sums of the round's rows over chunks of targets. For few rows a block has one chunk of a tile, else all chunks; the
// sums are the same.
template <class T>
__global__ void __launch_bounds__(kThreads) gains_kernel(Problem<T> p, State s, int step) {
  if (*s.decided) return;
  AUTOAL_SHARED(tile_rows, int64_t[kTile]);
  const int64_t count = static_cast<int64_t>(*s.count), tiles = (count + kTile - 1) / kTile;
  const bool split = count <= kSplitRows;
  const int64_t parts = split ? p.chunks : 1;
  const int x = threadIdx.x % kSide, y = threadIdx.x / kSide;
  for (int64_t item = blockIdx.x; item < tiles * parts; item += gridDim.x) {
    const int64_t tile = item / parts * kTile;
    __syncthreads();  // the item before may still be read
    if (threadIdx.x < kTile) tile_rows[threadIdx.x] = tile + threadIdx.x < count ? s.rows[tile + threadIdx.x] : -1;
    __syncthreads();
    int64_t rows[kEach];
    for (int r = 0; r < kEach; ++r) rows[r] = tile_rows[y * kEach + r];
    double gains[kEach] = {};
    const int64_t from = split ? item % parts : 0, to = split ? from + 1 : p.chunks;
    for (int64_t chunk = from; chunk < to; ++chunk) {
      double totals[kEach] = {};
      const int64_t end = (chunk + 1) * kChunk < p.n_targets ? (chunk + 1) * kChunk : p.n_targets;
      for (int64_t first = chunk * kChunk; first < end; first += kTile)
        tile_gains(p, s, rows, tile_rows, first, totals);
      for (int r = 0; r < kEach; ++r) {
        for (int o = kSide / 2; o > 0; o >>= 1) totals[r] += __shfl_xor_sync(kAll, totals[r], o);
        gains[r] += totals[r];
      }
    }
    if (x != 0) continue;
    for (int r = 0; r < kEach; ++r) {
      if (rows[r] < 0) continue;
      if (split)
        s.sums[(tile + y * kEach + r) * p.chunks + from] = gains[r];
      else
        put_bound(p, s, rows[r], gains[r], step);
    }
  }
}

// Puts the chunks of few rows together.
template <class T>
__global__ void __launch_bounds__(kThreads) sum_kernel(Problem<T> p, State s, int step) {
  if (*s.decided) return;
  const int64_t count = static_cast<int64_t>(*s.count);
  if (count > kSplitRows) return;
  for (int64_t r = int64_t{blockIdx.x} * kThreads + threadIdx.x; r < count; r += int64_t{gridDim.x} * kThreads) {
    double sum = 0.0;
    for (int64_t chunk = 0; chunk < p.chunks; ++chunk) sum += s.sums[r * p.chunks + chunk];
    put_bound(p, s, s.rows[r], sum, step);
  }
}

__global__ void pick_kernel(State s, int step, int64_t* pick, float* gain, int64_t* filled) {
  if (threadIdx.x != 0) return;
  const int64_t row = row_of(*s.fresh);
  pick[step] = row;
  gain[step] = s.bound[row];
  if (s.bound[row] == 0.0f) *filled += 1;
  s.bound[row] = -1.0f;
  *s.fresh = *s.stale = 0;
  *s.decided = 0;
}

// covered[i] = max(covered[i], k(pick, i)), a thread a row.
template <class T>
__global__ void __launch_bounds__(kThreads)
    cover_kernel(Problem<T> p, State s, const int64_t* pick, const float* gain) {
  if (*gain == 0.0f) return;
  AUTOAL_SHARED(rows, float[kDepth][kThreads + 1]);
  AUTOAL_SHARED(picked, float[kDepth]);
  for (int64_t first = int64_t{blockIdx.x} * kThreads; first < p.n; first += int64_t{gridDim.x} * kThreads) {
    float square = 0.0f;
    for (int64_t begin = 0; begin < p.d; begin += kDepth) {
      const int column = threadIdx.x % kDepth;
      const int64_t j = begin + column;
      for (int r = threadIdx.x / kDepth; r < kThreads; r += kThreads / kDepth)
        rows[column][r] = j < p.d && first + r < p.n ? p.at(first + r, j) : 0.0f;
      if (threadIdx.x < kDepth) picked[column] = j < p.d ? p.at(*pick, j) : 0.0f;
      __syncthreads();
      for (int k = 0; k < kDepth; ++k) square = add_square(rows[k][threadIdx.x], picked[k], square);
      __syncthreads();
    }
    const int64_t i = first + threadIdx.x;
    if (i >= p.n) continue;
    const float k = p.similarity(square);
    if (k > s.covered[i]) s.covered[i] = k;
  }
}

// ---------------------------------------------------------------- launchers
}  // namespace

size_t coverage_greedy_workspace(int64_t n, int64_t n_targets) {
  Carver carver(nullptr);
  carve(carver, n, n_targets);
  return carver.used();
}

void coverage_greedy(const Matrix& x, const float* scale, const Targets& targets, const float* gain,
                     const float* covered, const int64_t* excluded, int64_t n_excluded, float gamma, int64_t k,
                     Passes passes, const Selection& out, void* workspace, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  Carver carver(workspace);
  const State s = carve(carver, x.rows, targets.count);
  const int64_t n = x.rows, wide = std::min((n + kThreads - 1) / kThreads, kMaxBlocks);
  const char* op = "coverage_greedy";
  with_type(x.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const Problem<T> p{static_cast<const T*>(x.data),
                       scale,
                       gain,
                       targets.own,
                       targets.weights,
                       targets.rows,
                       n,
                       x.cols,
                       targets.count,
                       chunks(targets.count),
                       gamma};
    const int64_t items = std::max((n + kTile - 1) / kTile, (std::min(n, kSplitRows) + kTile - 1) / kTile * p.chunks);
    launch(op, stream, start_kernel, std::min(wide + kBins / kThreads, kMaxBlocks), s, n, covered, out.filled);
    launch(op, stream, exclude_kernel, std::min(n_excluded / kThreads + 1, kMaxBlocks), s, excluded, n_excluded);
    for (int step = 0; step < k; ++step) {
      int64_t most = passes == Passes::kPlain || step == 0 ? n : std::min(n, kFirstRound);
      for (bool last = false; !last; most = std::min(n, most * kGrowth)) {
        last = most == n;
        launch(op, stream, scan_kernel, wide, s, n, step);
        launch(op, stream, choose_kernel, 1, s, most);
        launch(op, stream, collect_kernel, wide, s, n, step);
        launch(op, stream, gains_kernel<T>, std::min(items, kMaxBlocks), p, s, step);
        launch(op, stream, sum_kernel<T>, std::min(kSplitRows / kThreads, wide), p, s, step);
      }
      launch(op, stream, scan_kernel, wide, s, n, step);
      launch(op, stream, pick_kernel, 1, s, step, out.picks, out.gain, out.filled);
      launch(op, stream, cover_kernel<T>, wide, p, s, static_cast<const int64_t*>(out.picks + step),
             static_cast<const float*>(out.gain + step));
    }
  });
}

}  // namespace autoal::cuda
