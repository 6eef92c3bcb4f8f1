// Sums of the weights of 64 rows (leaves) and of 64 leaves (nodes), taken anew wherever a weight changes: nothing
// drifts. From them a warp finds the row that a draw falls on. Where sums are exact, it is the row that WeightTree of
// csrc/cpu/rejection.h finds.
#pragma once
#include "common/rejection.h"
#include "cuda/common.cuh"

namespace autoal::cuda {

struct WeightTree {
  float* weight;                    // [n]
  double *leaves, *nodes, *before;  // before: the sum of all earlier nodes
  double* total;                    // [1]
  int64_t n, n_leaves, n_nodes;

  // A warp. Others may be putting down the same sum at the same time.
  __device__ void sum_leaf(int64_t leaf) const { put(leaves + leaf, group_sum(weight, n, leaf)); }
  __device__ void sum_node(int64_t node) const { put(nodes + node, group_sum(leaves, n_leaves, node)); }

  // A block, when all nodes are there.
  __device__ void sum_all() const {
    const int64_t each = (n_nodes + kThreads - 1) / kThreads, begin = threadIdx.x * each;
    const int64_t end = begin + each < n_nodes ? begin + each : n_nodes;
    double sum = 0.0;
    for (int64_t node = begin; node < end; ++node) sum += nodes[node];
    sum = block_before(sum);
    for (int64_t node = begin; node < end; ++node) {
      before[node] = sum;
      sum += nodes[node];
    }
    if (threadIdx.x == kThreads - 1) *total = sum;
  }

  // A warp: the row at `share` in [0, 1) of the total, which must not be 0.
  __device__ int64_t find(double share) const {
    double rest = __dmul_rn(share, *total);  // rounded before anything is taken from it, as on the CPU
    int64_t low = 0, high = n_nodes;  // the last node that no more than `rest` stands before is among [low, high)
    while (high - low > 1) {
      const int64_t step = (high - low + kWarp - 1) / kWarp, at = low + threadIdx.x % kWarp * step;
      const unsigned reached = __ballot_sync(kAll, at < high && before[at] <= rest);
      low += (reached ? kWarp - 1 - __clz(static_cast<int>(reached)) : 0) * step;
      if (low + step < high) high = low + step;
    }
    while (low > 0 && !(nodes[low] > 0.0)) --low;  // where rounding lets `rest` outrun the sums
    while (!(nodes[low] > 0.0)) ++low;
    rest -= before[low];
    const int64_t leaf = descend(leaves, n_leaves, low, rest);
    return descend(weight, n, leaf, rest);
  }

 private:
  template <class Number>
  static __device__ double group_sum(const Number* values, int64_t n, int64_t group) {
    const int64_t i = group * rejection::kGroup + threadIdx.x % kWarp;
    double sum = i < n ? static_cast<double>(values[i]) : 0.0;
    if (i + kWarp < n) sum += static_cast<double>(values[i + kWarp]);
    for (int o = kWarp / 2; o > 0; o >>= 1) sum += __shfl_xor_sync(kAll, sum, o);
    return sum;
  }

  static __device__ void put(double* at, double sum) {
    if (threadIdx.x % kWarp == 0)
      atomicExch(reinterpret_cast<unsigned long long*>(at), static_cast<unsigned long long>(__double_as_longlong(sum)));
  }

  // Sums over lanes up to one's own.
  static __device__ double warp_prefix(double v) {
    for (int o = 1; o < kWarp; o <<= 1) {
      const double other = __shfl_up_sync(kAll, v, o);
      if (static_cast<int>(threadIdx.x % kWarp) >= o) v += other;
    }
    return v;
  }

  // Every thread of the block gets the sum over the threads before it.
  static __device__ double block_before(double v) {
    AUTOAL_SHARED(parts, double[kWarps]);
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const double sum = warp_prefix(v), last = __shfl_up_sync(kAll, sum, 1);
    if (lane == kWarp - 1) parts[warp] = sum;
    __syncthreads();
    double before = 0.0;
    for (int w = 0; w < warp; ++w) before += parts[w];
    __syncthreads();
    return lane > 0 ? before + last : before;
  }

  // The member of a group that holds `rest`, from which all before it is taken; the last with weight if rounding lets
  // `rest` outrun the sum. Each lane looks at two members.
  template <class Number>
  static __device__ int64_t descend(const Number* values, int64_t n, int64_t group, double& rest) {
    const int64_t i = group * rejection::kGroup + 2 * (threadIdx.x % kWarp);
    const double first = i < n ? static_cast<double>(values[i]) : 0.0;
    const double second = i + 1 < n ? static_cast<double>(values[i + 1]) : 0.0;
    const double sum = warp_prefix(first + second), last = __shfl_up_sync(kAll, sum, 1);
    const bool weighs = first > 0.0 || second > 0.0;
    const unsigned all = __ballot_sync(kAll, weighs), beyond = __ballot_sync(kAll, weighs && rest < sum);
    const int lane = beyond ? __ffs(static_cast<int>(beyond)) - 1 : kWarp - 1 - __clz(static_cast<int>(all));
    if (lane > 0) rest -= __shfl_sync(kAll, last, lane);
    const double a = __shfl_sync(kAll, first, lane), b = __shfl_sync(kAll, second, lane);
    const bool is_second = b > 0.0 && !(a > 0.0 && rest < a);
    if (is_second) rest -= a;
    return group * rejection::kGroup + 2 * lane + (is_second ? 1 : 0);
  }
};

inline WeightTree carve_weight_tree(Carver& carver, int64_t n) {
  WeightTree tree;
  tree.n = n;
  tree.n_leaves = rejection::groups(n);
  tree.n_nodes = rejection::groups(tree.n_leaves);
  tree.weight = carver.take<float>(n);
  tree.leaves = carver.take<double>(tree.n_leaves);
  tree.nodes = carver.take<double>(tree.n_nodes);
  tree.before = carver.take<double>(tree.n_nodes);
  tree.total = carver.take<double>(1);
  return tree;
}

}  // namespace autoal::cuda
