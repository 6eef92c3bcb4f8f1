// D^2 sampling from stale weights, by the device alone: the grid draws a batch of proposals, brings the proposed rows
// up to date and takes their distances to each other; one block accepts in order; the grid sums what changed. The rules
// are those of csrc/common/rejection.h, csrc/cpu/rejection.h is the same algorithm, docs/d2_sampling.md has the proof.
// Which block, warp or thread does what decides nothing.
#pragma once
#include "cuda/lazy_bounds.cuh"
#include "cuda/weight_tree.cuh"

namespace autoal::cuda {

constexpr int kMostProposals = static_cast<int>(rejection::kLargest);
constexpr double kInfinite = 1e300;  // no sum of floats reaches it
constexpr int kNobody = 0x7fffffff;  // as a proposal: none
constexpr int kPicked = 0x7fffffff;  // as the number of centers that a row knows of: it is one itself, or excluded

// Where the sampler stands. The first block changes it while the others wait.
struct Progress {
  int64_t picked, proposed, size;  // so far; so far; proposals of the next batch
  int64_t wasted, in_vain;         // since all rows were brought up to date; of that, since the last batch with a pick
  int64_t known_to_all;            // the centers that there were then
};

struct Rejection {
  WeightTree tree;                 // what rows are drawn by: their bounds, or above them floors
  float* bound;                    // [n] D^2, or more where it is out of date
  int* seen;                       // [n] how many centers a bound knows of
  int* owner;                      // [n] the first proposal of the batch for a row
  int* rows;                       // [n] those that are brought up to date, all different
  int *centers, *proposed, *slot;  // [k]; of a proposal [batch]: its row; where that stands among `rows`
  float *level, *floor;            // [batch] of a proposal; of a row the lowest of its proposals
  int* met;                        // [batch]
  float* between;                  // [batch, batch] squared distances of the rows to each other
  Progress* now;                   // [1]
  unsigned long long* listed;      // [1] of `rows`; 0 between turns
};

inline Rejection carve_rejection(Carver& carver, int64_t n, int64_t k) {
  const int64_t most = std::min<int64_t>(n, kMostProposals);
  Rejection s;
  s.tree = carve_weight_tree(carver, n);
  s.bound = carver.take<float>(n);
  s.seen = carver.take<int>(n);
  s.owner = carver.take<int>(n);
  s.rows = carver.take<int>(n);
  s.centers = carver.take<int>(k);
  s.proposed = carver.take<int>(kMostProposals);
  s.slot = carver.take<int>(kMostProposals);
  s.level = carver.take<float>(kMostProposals);
  s.floor = carver.take<float>(most);
  s.met = carver.take<int>(most);
  s.between = carver.take<float>(most * most);
  s.now = carver.take<Progress>(1);
  s.listed = carver.take<unsigned long long>(1);
  return s;
}

namespace rejecting {

__device__ __forceinline__ int64_t first_warp() { return int64_t{blockIdx.x} * kWarps + threadIdx.x / kWarp; }
__device__ __forceinline__ int64_t all_warps() { return int64_t{gridDim.x} * kWarps; }
__device__ __forceinline__ int64_t first_thread() { return int64_t{blockIdx.x} * kThreads + threadIdx.x; }
__device__ __forceinline__ int64_t all_threads() { return int64_t{gridDim.x} * kThreads; }

// Whole grid: the weights after the first pick; all 0 if there is none (first < 0).
template <class Metric>
__device__ void begin(const Metric& metric, const Rejection& s, const int64_t* excluded, int64_t n_excluded,
                      int64_t first, int64_t* filled) {
  metric.find_middle();
  if (first_thread() == 0) {
    *s.now = {first >= 0 ? 1 : 0, 0, rejection::kSmallest, 0, 0, 1};
    *s.listed = 0;
    s.centers[0] = static_cast<int>(first);
    *filled = 0;
  }
  dev::grid_sync();
  for (int64_t row = first_warp(); row < s.tree.n; row += all_warps()) {
    float weight = 0.0f;
    if (first >= 0) {
      metric.find_norm(row);
      weight = metric.exact(row, first);
    }
    if (threadIdx.x % kWarp != 0) continue;
    s.tree.weight[row] = s.bound[row] = row == first ? 0.0f : weight;
    s.seen[row] = row == first ? kPicked : 1;
    s.owner[row] = kNobody;
  }
  dev::grid_sync();
  for (int64_t j = first_thread(); j < n_excluded; j += all_threads()) {
    s.tree.weight[excluded[j]] = s.bound[excluded[j]] = 0.0f;
    s.seen[excluded[j]] = kPicked;
  }
  dev::grid_sync();
}

// Whole grid: the sums over all weights, or over the first `count` of `rows` where no others have changed.
__device__ inline void sum(const Rejection& s, bool all, int64_t count) {
  const int64_t leaves = all ? s.tree.n_leaves : count, nodes = all ? s.tree.n_nodes : count;
  constexpr int64_t kLeaf = rejection::kGroup, kNode = kLeaf * kLeaf;
  for (int64_t i = first_warp(); i < leaves; i += all_warps()) s.tree.sum_leaf(all ? i : s.rows[i] / kLeaf);
  dev::grid_sync();
  for (int64_t i = first_warp(); i < nodes; i += all_warps()) s.tree.sum_node(all ? i : s.rows[i] / kNode);
  dev::grid_sync();
  if (blockIdx.x == 0) s.tree.sum_all();
  dev::grid_sync();
}

// Whole grid: the proposals, a warp each.
__device__ inline void draw(const Rejection& s, const Progress& now, uint64_t seed) {
  for (int64_t q = first_warp(); q < now.size; q += all_warps()) {
    const int64_t row = s.tree.find(rejection::row_draw(seed, now.proposed + q));
    if (threadIdx.x % kWarp != 0) continue;
    s.proposed[q] = static_cast<int>(row);
    s.level[q] = rejection::level(seed, now.proposed + q, s.tree.weight[row]);
    atomicMin(s.owner + row, static_cast<int>(q));
  }
}

// A block: the different rows of the proposals, in their order, and their floors.
__device__ inline void gather(const Rejection& s, int size) {
  int count = 0;
  for (int begin = 0; begin < size; begin += kThreads) {
    const int q = begin + threadIdx.x, row = q < size ? s.proposed[q] : 0;
    const bool owns = q < size && s.owner[row] == q;
    int rank;
    const int more = block_rank(owns, rank);
    if (owns) {
      s.rows[count + rank] = row;
      s.floor[count + rank] = s.level[q];
      s.slot[q] = count + rank;
    }
    count += more;
  }
  __syncthreads();
  for (int q = threadIdx.x; q < size; q += kThreads) {
    const int owner = s.owner[s.proposed[q]];
    if (owner == q) continue;
    s.slot[q] = s.slot[owner];
    atomicMin(reinterpret_cast<unsigned*>(s.floor + s.slot[q]), __float_as_uint(s.level[q]));  // none is below 0
  }
  if (threadIdx.x == 0) *s.listed = count;
}

// A block: goes through the proposals in order. Each pick is found by all threads together, and lowers the weights of
// the proposals after it. Then writes back what is known of the rows.
__device__ inline void accept(const Rejection& s, const Progress& now, int64_t numbers, int64_t k, int64_t* picks) {
  constexpr int kEach = kMostProposals / kThreads;
  AUTOAL_SHARED(firsts, int[2][kWarps]);
  const int begin = threadIdx.x * kEach, count = static_cast<int>(*s.listed);
  int slot[kEach];
  float weight[kEach], level[kEach];
  AUTOAL_UNROLL
  for (int e = 0; e < kEach; ++e) {
    const bool here = begin + e < now.size;
    slot[e] = here ? s.slot[begin + e] : -1;
    weight[e] = here ? s.bound[s.rows[slot[e]]] : 0.0f;
    level[e] = here ? s.level[begin + e] : 0.0f;
  }

  int64_t picked = now.picked;
  for (int last = -1, turn = 0; picked < k; turn ^= 1) {
    int next = kNobody;
    AUTOAL_UNROLL
    for (int e = kEach - 1; e >= 0; --e)
      if (begin + e > last && weight[e] > level[e]) next = begin + e;
    const unsigned stand = __ballot_sync(kAll, next != kNobody);
    if (stand) next = __shfl_sync(kAll, next, __ffs(static_cast<int>(stand)) - 1);
    if (threadIdx.x % kWarp == 0) firsts[turn][threadIdx.x / kWarp] = next;
    __syncthreads();
    for (int w = 0; w < kWarps; ++w) next = firsts[turn][w] < next ? firsts[turn][w] : next;
    if (next == kNobody) break;
    last = next;
    const int center = s.slot[last];
    AUTOAL_UNROLL
    for (int e = 0; e < kEach; ++e) {
      if (begin + e <= last || !(weight[e] > level[e])) continue;
      const float distance = s.between[int64_t{center} * count + slot[e]];
      weight[e] = distance < weight[e] ? distance : weight[e];
    }
    if (threadIdx.x == 0) picks[picked] = s.centers[picked] = s.rows[center];
    ++picked;
  }

  for (int i = threadIdx.x; i < count; i += kThreads) {
    const int row = s.rows[i];
    s.tree.weight[row] = s.bound[row] > s.floor[i] ? s.bound[row] : s.floor[i];
    s.seen[row] = s.met[i];
    s.owner[row] = kNobody;
  }
  __syncthreads();
  for (int64_t j = now.picked + threadIdx.x; j < picked; j += kThreads) {
    s.tree.weight[s.centers[j]] = s.bound[s.centers[j]] = 0.0f;
    s.seen[s.centers[j]] = kPicked;
  }
  if (threadIdx.x == 0) {
    const int64_t accepted = picked - now.picked;
    const int64_t wasted = (now.size - accepted) * rejection::waste(now.picked - now.known_to_all, numbers);
    *s.now = {picked,
              now.proposed + now.size,
              rejection::next_size(now.size, accepted),
              now.wasted + wasted,
              accepted > 0 ? 0 : now.in_vain + wasted,
              now.known_to_all};
    *s.listed = 0;
  }
}

// Whole grid: lists the rows whose bounds are out of date.
__device__ inline void list_late(const Rejection& s, const Progress& now) {
  const int lane = threadIdx.x % kWarp;
  for (int64_t base = first_warp() * kWarp; base < s.tree.n; base += all_threads()) {
    const int64_t row = base + lane;
    const bool late = row < s.tree.n && s.bound[row] > 0.0f && s.seen[row] < now.picked;
    const unsigned together = __ballot_sync(kAll, late);
    unsigned long long at = 0;
    if (lane == 0 && together) at = atomicAdd(s.listed, static_cast<unsigned long long>(__popc(together)));
    at = __shfl_sync(kAll, at, 0);
    if (late) s.rows[at + __popc(together & ((1u << lane) - 1))] = static_cast<int>(row);
  }
}

// Whole grid: the listed rows, and with them all, are up to date.
__device__ inline void note_all(const Rejection& s, const Progress& now, int64_t count) {
  for (int64_t i = first_thread(); i < count; i += all_threads()) {
    s.seen[s.rows[i]] = static_cast<int>(now.picked);
    s.owner[i] = kNobody;
  }
  for (int64_t row = first_thread(); row < s.tree.n; row += all_threads()) s.tree.weight[row] = s.bound[row];
  if (first_thread() == 0) {
    *s.now = {now.picked, now.proposed, now.size, 0, 0, now.picked};
    *s.listed = 0;
  }
}

// A warp: every weight is 0, so the rows that are free follow in order.
__device__ inline void fill(const Rejection& s, int64_t picked, int64_t k, int64_t* picks, int64_t* filled) {
  const int lane = threadIdx.x % kWarp;
  if (lane == 0) *filled = k - picked;
  for (int64_t base = 0; picked < k; base += kWarp) {
    const bool free = base + lane < s.tree.n && s.seen[base + lane] != kPicked;
    const unsigned all = __ballot_sync(kAll, free);
    const int64_t at = picked + __popc(all & ((1u << lane) - 1));
    if (free && at < k) picks[at] = base + lane;
    picked += __popc(all);
  }
}

}  // namespace rejecting

// picks[0] is the first, or -1 if every weight is 0 already. numbers: of a row, as it is priced.
template <class Metric>
__global__ void __launch_bounds__(kThreads, 2)
    rejection_kernel(Metric metric, Rejection s, int64_t numbers, const int64_t* excluded, int64_t n_excluded,
                     int64_t k, uint64_t seed, int64_t* picks, int64_t* filled) {
  using namespace rejecting;
  begin(metric, s, excluded, n_excluded, picks[0], filled);
  sum(s, true, 0);
  for (;;) {
    const Progress now = *s.now;
    const double total = *s.tree.total;
    if (now.picked == k || !(total > 0.0 && total < kInfinite)) break;  // rows that nobody checked may be infinite

    const bool all =
        rejection::refresh_pays(now.wasted, now.in_vain, s.tree.n, now.picked, now.picked - now.known_to_all, numbers);
    if (all) {
      list_late(s, now);
    } else {
      draw(s, now, seed);
      dev::grid_sync();
      if (blockIdx.x == 0) gather(s, static_cast<int>(now.size));
    }
    dev::grid_sync();
    const int64_t count = static_cast<int64_t>(*s.listed);
    const auto floor = [&](int64_t i) { return all ? 0.0f : s.floor[i]; };
    int* met = all ? s.owner : s.met;  // no row has an owner between batches
    refresh_rows(metric, s.rows, count, s.centers, now.picked, s.bound, s.seen, floor, met);
    if (!all) pair_distances(metric, s.rows, count, s.between);
    dev::grid_sync();
    if (all)
      note_all(s, now, count);
    else if (blockIdx.x == 0)
      accept(s, now, numbers, k, picks);
    dev::grid_sync();
    sum(s, all, count);
  }
  const int64_t picked = s.now->picked;
  if (blockIdx.x == 0 && threadIdx.x < kWarp && picked < k) fill(s, picked, k, picks, filled);
}

}  // namespace autoal::cuda
