// mc_uncertainty_scores: a group of lanes per sample takes its predictions one after the other.
#include "cuda/rows.cuh"
#include "cuda/softmax.cuh"

namespace autoal::cuda {
namespace {

constexpr int kSlots = 16;                // classes of a lane
constexpr int64_t kFew = kWarp * kSlots;  // classes that a warp holds; twice as many in more registers

// The entropies of a sample's predictions.
struct Entropies {
  float first = 0.0f, more = 0.0f;  // of the first; more than that, of all
  bool good = true;

  __device__ __forceinline__ void add(const Sums& r, bool probs, float scale, float tolerance, bool is_first) {
    const float entropy = entropy_of(r, probs, scale);
    good = good && is_distribution(r, probs, tolerance);
    if (is_first) first = entropy;
    more += entropy - first;
  }
};

// Over the classes of a sample: p ln p of the mean, the same less that of the first prediction, standard deviations;
// and the most votes.
struct Summary {
  float p_log_p = 0.0f, more_p_log_p = 0.0f, deviation = 0.0f;
  float votes = 0.0f;
};

// What is kept of a lane's classes until all predictions are read. All by deviations from the first prediction: nothing
// cancels in the variance, and predictions that are all the same have a BALD of exactly 0.
template <int kRuns, int kRun>
struct Kept {
  float first[kRuns][kRun], shift[kRuns][kRun], square[kRuns][kRun];

  __device__ __forceinline__ void start(const float (&x)[kRuns][kRun], int runs, float scale) {
    each<kRuns, kRun>(runs, [&](int k, int q) {
      first[k][q] = __fmul_rn(x[k][q], scale);
      shift[k][q] = square[k][q] = 0.0f;
    });
  }

  __device__ __forceinline__ void add(const float (&x)[kRuns][kRun], int runs, float scale) {
    each<kRuns, kRun>(runs, [&](int k, int q) {
      const float more = __fmul_rn(x[k][q], scale) - first[k][q];
      shift[k][q] += more;
      square[k][q] = __fmaf_rn(more, more, square[k][q]);
    });
  }

  template <class Votes>
  __device__ __forceinline__ void sum_up(Summary& all, int runs, float inverse_t, const Votes& votes) const {
    each<kRuns, kRun>(runs, [&](int k, int q) {
      const float mean = shift[k][q] * inverse_t, variance = __fmaf_rn(-mean, mean, square[k][q] * inverse_t);
      const float of_mean = p_log_p(first[k][q] + mean);
      all.p_log_p += of_mean;
      all.more_p_log_p += of_mean - p_log_p(first[k][q]);
      all.deviation += sqrtf(fmaxf(variance, 0.0f));
      all.votes = fmaxf(all.votes, votes(k * kRun + q));
    });
  }
};

// What all lanes of a group have found; one of them writes.
__device__ __forceinline__ void write_scores(const MCUncertaintyScores& out, int64_t i, const Summary& all,
                                             const Entropies& entropies, const Samples& x, int64_t* bad_row) {
  const float t = static_cast<float>(x.t);
  if (!entropies.good) note_bad(bad_row, i);
  out.bald[i] = fmaxf(-all.more_p_log_p - entropies.more / t, 0.0f);
  out.entropy[i] = fmaxf(-all.p_log_p, 0.0f);
  out.mean_std[i] = all.deviation / static_cast<float>(x.c);
  out.variation_ratio[i] = (t - all.votes) / t;
}

template <class Row>
__device__ __forceinline__ Row prediction(const Samples& x, int64_t k, int64_t i) {
  return Row(x.data, k * x.stride_t + i * x.stride_n, x.stride_c, static_cast<int>(x.c));
}

// A group of 2^log_width lanes per sample, up to a warp. The classes of a lane, kVectors vectors of them, stay in
// registers, votes for them in shared memory. The next prediction is on its way while one is worked on.
template <class Row, int kVectors, int kBlocks>
__global__ void __launch_bounds__(kThreads, kBlocks)
    few_classes_kernel(Samples x, bool probs, float tolerance, int log_width, MCUncertaintyScores out,
                       int64_t* bad_row) {
  constexpr int kRun = Row::kNumbers;
  AUTOAL_SHARED(all_votes, float[kVectors * kRun][kThreads]);
  const auto votes = [&](int place) -> float& { return all_votes[place][threadIdx.x]; };
  const int64_t per_block = kThreads >> log_width;
  const int width = 1 << log_width, lane = threadIdx.x & (width - 1);
  const int vectors = (static_cast<int>(x.c) + kRun - 1) / kRun, runs = (vectors + width - 1) >> log_width;
  const uint32_t padding = padding_of(typename Row::Number{}, probs);
  for (int64_t base = blockIdx.x * per_block; base < x.n; base += gridDim.x * per_block) {
    const int64_t i = base + (threadIdx.x >> log_width), sample = i < x.n ? i : x.n - 1;
    Kept<kVectors, kRun> kept;
    Entropies entropies;
    Row row = prediction<Row>(x, 0, sample);
    Part<Row, kVectors> next;
    next.load(row, lane, width, padding);
    for (int place = 0; place < runs * kRun; ++place) votes(place) = 0.0f;
    for (int64_t k = 0; k < x.t; ++k) {
      float p[kVectors][kRun];
      next.read(p);
      row.start += x.stride_t * sizeof(typename Row::Number);
      if (k + 1 < x.t) next.load(row, lane, width, padding);
      Sums r = no_sums(probs);
      const int place = raise(r.first, r.second, 0, p, runs), own = (lane + place / kRun * width) * kRun + place % kRun;
      r.mode = own;
      merge_tops<true>(r, width);
      if (own == r.mode) votes(place) += 1.0f;
      sum_up(r.z, r.s, p, runs, probs, origin_of(r.first));
      r.z = sum_lanes(r.z, width);
      r.s = sum_lanes(r.s, width);
      const float scale = probs ? 1.0f : 1.0f / r.z;
      entropies.add(r, probs, scale, tolerance, k == 0);
      if (k == 0) kept.start(p, runs, scale);
      kept.add(p, runs, scale);
    }
    Summary all;
    kept.sum_up(all, runs, 1.0f / static_cast<float>(x.t), votes);
    all.p_log_p = sum_lanes(all.p_log_p, width);
    all.more_p_log_p = sum_lanes(all.more_p_log_p, width);
    all.deviation = sum_lanes(all.deviation, width);
    for (int o = width / 2; o > 0; o >>= 1) all.votes = fmaxf(all.votes, __shfl_xor_sync(kAll, all.votes, o));
    if (lane == 0 && i < x.n) write_scores(out, i, all, entropies, x, bad_row);
  }
}

// ---------------------------------------------------------------- many classes: kSlots of each thread at a time

// What is kept of a sample, in memory: of each thread's classes, which no other touches.
struct Scratch {
  float* mine;  // [turns, 4, kSlots, kThreads], of this block, from this thread on

  static int64_t turns(int64_t c) { return (c + kSlots * kThreads - 1) / (kSlots * kThreads); }
  static int64_t size(int64_t c) { return turns(c) * 4 * kSlots * kThreads; }

  __device__ __forceinline__ float& at(int turn, int array, int place) const {
    return mine[((int64_t{turn} * 4 + array) * kSlots + place) * kThreads];
  }
  __device__ __forceinline__ float& votes(int turn, int place) const { return at(turn, 3, place); }

  template <int kRuns, int kRun>
  __device__ __forceinline__ void load(int turn, int runs, Kept<kRuns, kRun>& kept) const {
    each<kRuns, kRun>(runs, [&](int k, int q) {
      kept.first[k][q] = at(turn, 0, k * kRun + q);
      kept.shift[k][q] = at(turn, 1, k * kRun + q);
      kept.square[k][q] = at(turn, 2, k * kRun + q);
    });
  }
  template <int kRuns, int kRun>
  __device__ __forceinline__ void store(int turn, int runs, const Kept<kRuns, kRun>& kept) const {
    each<kRuns, kRun>(runs, [&](int k, int q) {
      at(turn, 0, k * kRun + q) = kept.first[k][q];
      at(turn, 1, k * kRun + q) = kept.shift[k][q];
      at(turn, 2, k * kRun + q) = kept.square[k][q];
    });
  }
};

// A block per sample; each prediction is read twice, from memory and from the cache. Numbers come one by one: what is
// kept makes five times their traffic.
template <class Row>
__global__ void __launch_bounds__(kThreads, 2)
    many_classes_kernel(Samples x, bool probs, float tolerance, MCUncertaintyScores out, int64_t* bad_row,
                        float* scratch, int64_t scratch_size) {
  constexpr int kRun = Row::kNumbers, kVectors = kSlots / kRun;
  const Scratch memory = {scratch + blockIdx.x * scratch_size + threadIdx.x};
  const int vectors = (static_cast<int>(x.c) + kRun - 1) / kRun;
  const uint32_t padding = padding_of(typename Row::Number{}, probs);
  // Calls f(turn, runs, numbers, class of a place) for all numbers of a row that are this thread's.
  const auto each_turn = [&](const Row& row, const auto& f) {
    for (int turn = 0, begin = 0; begin < vectors; ++turn, begin += kVectors * kThreads) {
      Part<Row, kVectors> part;
      float p[kVectors][kRun];
      const int vector = begin + static_cast<int>(threadIdx.x);
      part.load(row, vector, kThreads, padding);
      part.read(p);
      f(turn, (vectors - begin + kThreads - 1) / kThreads, p,
        [=](int place) { return (vector + place / kRun * kThreads) * kRun + place % kRun; });
    }
  };
  for (int64_t i = blockIdx.x; i < x.n; i += gridDim.x) {
    Entropies entropies;
    for (int64_t k = 0; k < x.t; ++k) {
      const Row row = prediction<Row>(x, k, i);
      Sums r = no_sums(probs);
      each_turn(row, [&](int, int runs, auto& p, const auto& class_of) { add(r, p, runs, probs, class_of); });
      merge<true>(r, kThreads, probs);
      const float origin = origin_of(r.first), scale = probs ? 1.0f : 1.0f / r.z;
      entropies.add(r, probs, scale, tolerance, k == 0);
      each_turn(row, [&](int turn, int runs, auto& p, const auto& class_of) {
        Kept<kVectors, kRun> kept;
        each<kVectors, kRun>(runs, [&](int j, int q) {
          if (!probs) p[j][q] = dev::exponential(p[j][q] - origin);
          const bool mode = class_of(j * kRun + q) == r.mode;
          if (k == 0) memory.votes(turn, j * kRun + q) = mode ? 1.0f : 0.0f;
          if (k != 0 && mode) memory.votes(turn, j * kRun + q) += 1.0f;
        });
        if (k == 0)
          kept.start(p, runs, scale);
        else
          memory.load(turn, runs, kept);
        kept.add(p, runs, scale);
        memory.store(turn, runs, kept);
      });
    }
    Summary all;
    for (int turn = 0, begin = 0; begin < vectors; ++turn, begin += kVectors * kThreads) {
      const int runs = (vectors - begin + kThreads - 1) / kThreads;
      Kept<kVectors, kRun> kept;
      memory.load(turn, runs, kept);
      kept.sum_up(all, runs, 1.0f / static_cast<float>(x.t), [&](int place) { return memory.votes(turn, place); });
    }
    all.p_log_p = block_sum(all.p_log_p);
    all.more_p_log_p = block_sum(all.more_p_log_p);
    all.deviation = block_sum(all.deviation);
    all.votes = value_of(block_max(make_key(all.votes, 0)));
    if (threadIdx.x == 0) write_scores(out, i, all, entropies, x, bad_row);
  }
}

// Few enough that what is kept of all samples at work stays in the cache of the chip.
int64_t many_blocks(int64_t n) { return std::min(n, kMaxBlocks / 8); }

// ---------------------------------------------------------------- launchers
}  // namespace

size_t mc_uncertainty_scores_workspace(int64_t, int64_t n, int64_t c) {
  return c <= 2 * kFew ? 0 : static_cast<size_t>(many_blocks(n) * Scratch::size(c)) * sizeof(float);
}

void mc_uncertainty_scores(const Samples& x, Kind kind, float tolerance, const MCUncertaintyScores& out,
                           int64_t* bad_row, void* workspace, const Stream& stream) {
  const DeviceGuard guard(stream.device);
  const char* op = "mc_uncertainty_scores";
  const bool probs = kind == Kind::kProbs;
  launch(op, stream, set_kernel<int64_t>, 1, bad_row, x.n);
  if (x.c > 2 * kFew) {
    with_type(x.dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      launch(op, stream, many_classes_kernel<Row<T, sizeof(T)>>, many_blocks(x.n), x, probs, tolerance, out, bad_row,
             static_cast<float*>(workspace), Scratch::size(x.c));
    });
    return;
  }
  const uint64_t numbers = x.stride_c == 1 ? x.c | x.stride_t | x.stride_n : 1;
  with_rows(x.dtype, reinterpret_cast<uintptr_t>(x.data) | numbers * bytes_of(x.dtype), [&](auto tag) {
    using Row = typename decltype(tag)::type;
    constexpr int kVectors = kSlots / Row::kNumbers;
    const auto few = [&](auto kernel, int64_t slots) {
      const int log_width = log_lanes(x.c, slots), per_block = kThreads >> log_width;
      launch(op, stream, kernel, std::min((x.n + per_block - 1) / per_block, kMaxBlocks), x, probs, tolerance,
             log_width, out, bad_row);
    };
    if (x.c <= kFew)
      few(few_classes_kernel<Row, kVectors, 2>, kSlots);
    else
      few(few_classes_kernel<Row, 2 * kVectors, 1>, 2 * kSlots);
  });
}

}  // namespace autoal::cuda
