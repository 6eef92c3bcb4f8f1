// THE CONTRACT of the native kernels. One declaration per op and backend; csrc/cpu and csrc/cuda
// implement it, csrc/binding.cpp (and nothing else) exposes it, autoal/ops calls it.
//
// Common to all ops
//   Shapes   N points, C classes, D embedding width, T Monte-Carlo samples, k picks.
//   Inputs   float32, float16 or bfloat16, rows contiguous and one after the other; arithmetic in float32.
//   Scores   higher = ask first. Ties, everywhere: the lowest index.
//   Results  do not depend on the number of threads, nor (on data whose sums are exact in float32,
//            such as small integers) on the backend.
//   Memory   outputs and CUDA workspace belong to the caller. CUDA ops allocate nothing and never
//            synchronise the host; they run on the given device and stream.
//   Errors   arguments are checked by the caller (autoal/ops); ops throw only for faults of the machine.
//            Selections take finite rows whose squared norms are at most an eighth of the largest float: distances
//            must not overflow.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>

namespace autoal {

enum class DType : int { kFloat32 = 0, kFloat16 = 1, kBFloat16 = 2 };
enum class Kind : int { kLogits = 0, kProbs = 1 };

// How a selection op goes about it: a pass over all rows per pick, or only what the answer needs. kAuto chooses by
// size.
enum class Passes : int { kAuto = 0, kPlain = 1, kLazy = 2 };

// [rows, cols], row-major, contiguous.
struct Matrix {
  const void* data;
  int64_t rows, cols;
  DType dtype;
};

// Monte-Carlo samples [T, N, C] in any memory layout; strides count elements.
struct Samples {
  const void* data;
  int64_t t, n, c;
  int64_t stride_t, stride_n, stride_c;
  DType dtype;
};

// Each [N].
struct UncertaintyScores {
  float *entropy, *margin, *least_confidence;
};
struct MCUncertaintyScores {
  float *bald, *entropy, *mean_std, *variation_ratio;
};

// The answer of a selection op. `picks` [k]: row numbers in pick order, all different.
struct Selection {
  int64_t* picks;         // [k]
  float* radius;          // kcenter_greedy: [k], covering radius after each pick; else nullptr
  int64_t* filled;        // [1]: how many of the last picks only filled up because every remaining weight
                          //      (distance, gain) was 0; these go by lowest index
  float* gain = nullptr;  // coverage_greedy: [k], the gain of each pick when it was made
};

// What coverage_greedy covers: rows of the pool, all of them or some drawn for all.
struct Targets {
  const int64_t* rows;   // [count], all different
  const float* weights;  // [count], >= 0
  int64_t count;
  const float* own;  // [N]: what it is worth that a row covers itself, which then is no target of its own gain; or
                     // nullptr: rows are targets like any other
};

// Called between picks by the calling thread; throwing from it ends the op (Ctrl-C, progress).
using Tick = std::function<void(int64_t picked)>;

// Rows of D^2 weights that are summed together before a draw. Part of the contract, because it fixes
// the order of the double sums, and with it which row a draw hits.
constexpr int64_t kDrawChunk = 4096;

// A device and a stream of it (cudaStream_t).
struct Stream {
  int device;
  void* handle;
};

// uncertainty_scores: x [N, C]. entropy in nats, margin = 1 - (p(1) - p(2)), least_confidence = 1 - p(1).
//   Logits may be -inf (p = 0), p = 0 adds 0 to the entropy. C = 1: p(2) = 0... p(1) = 1. C is at most 2^30.
//   Scores depend on nothing but the row: not on where it lies in memory, nor on the others.
//   bad_row [1]: the lowest row that is no distribution (NaN, +inf, all -inf; probs: a value below 0
//   or a sum further from 1 than `tolerance`), or N if there is none. Its scores are unspecified.
// mc_uncertainty_scores: x [T, N, C]; p^t = softmax or probs of sample t, pbar their mean over T.
//   bald = H[pbar] - mean_t H[p^t] (>= 0), entropy = H[pbar], mean_std = mean over classes of the population standard
//   deviation over T, variation_ratio = 1 - (votes of the mode) / T, a vote being argmax p^t, lowest class on ties.
// squared_norms: out_i = |x_i|^2, summed in the same order as the distances below. Not finite for a row
//   that holds NaN or Inf or whose square overflows.
// kcenter_greedy: farthest-first traversal. Distances between rows x_i * scale_i (scale [N] or nullptr = 1), Euclidean.
//   centers [n_centers]: rows that are centers already and never returned; first: the first pick, or -1 = the farthest
//   from centers (n_centers or first must be given). Distances are direct differences (no cancellation): copies have
//   distance 0 exactly. excluded [n_excluded] rows are never picked, are no centers (unless named there too), and count
//   for no radius.
// refresh_bounds: lowers bounds[i] of the given rows, all different, to their squared distance from the nearest of
//   centers [n_centers, D] (float32, already scaled), of which row i has met the first seen[i]. A row whose bound falls
//   to its floor or below may be left there: its bound is an upper bound then. rows, floors: [n_rows]; bounds, seen:
//   [N], in and out.
// farthest_among: farthest-first among rows whose bounds are up to date: picks the largest bound, and lowers the others
//   by it, at most k times, while it is above 0 and `floor`, or equal to `floor` and in one of the first `before` rows.
//   distances [k]: the bound of a pick when it was made; then its bound is -1. Gives how many picks. k >= 1, N >= 1.
// kmeanspp: D^2 sampling: first pick `first`, or if -1 uniform over all rows (so none may be excluded); then row i with
//   probability d2(i, picks) / sum.
//   excluded [n_excluded] rows have the weight 0 from the start, and fill nothing up.
//   In plain passes draw number j (j = 0 is the first pick's) is uniform(seed, j) of common/random.h, looked up in the
//   running sum of the weights: chunks of kDrawChunk rows, a chunk's sum in double, rows in order. The draws of
//   Passes::kLazy (common/rejection.h) are others with the same law; kAuto (common/passes.h) chooses alike on all.
// gradient_kmeanspp: BADGE. D^2 sampling over g_i = (p_i - onehot(argmax p_i)) (x) h_i, which is never formed:
//   |g_i - g_j|^2 = |a_i|^2 |h_i|^2 + |a_j|^2 |h_j|^2 - 2 <a_i, a_j> <h_i, h_j>, clamped at 0. First pick: the largest
//   |g|; then as kmeanspp, with draw number j for pick j, and excluded rows as there. bad_row as in uncertainty_scores,
//   which also looks at excluded rows.
// coverage_greedy: weighted facility location. k(i, j) = exp(-gamma |x_i - x_j|^2) of rows x_i * scale_i;
//   gain_i = gain[i] * (own_i (1 - m_i) + sum over targets j of w_j max(0, k(i, j) - m_j)). The row of the largest gain
//   is picked, then m_j = max(m_j, k(pick, j)); before the first pick m = covered [N]. excluded [n_excluded] rows are
//   never picked. Gains are rounded to float32 before they are compared: one that is 0 then is 0, and covers nothing.
//   |x_i - x_j|^2 is off by at most (D + 16) 2^-17 of itself, wherever the rows lie. It is a function of the two rows
//   alone: a copy of a pick has k = 1 and gains 0, exactly. On the CPU sums do not depend on the order of their terms,
//   which are rounded to units of at most 2^-49 of the largest w_j (1 - m_j), or 2^-60 of the sum of all. Once the
//   largest is less than 2^24 of them, a new unit is taken, and all gains anew. On CUDA the order is fixed. So gains
//   computed anew in a unit never grow, and both ways (Passes) make the same picks. memory: bytes of similarities that
//   the CPU may keep to compute gains anew without products.

namespace cpu {

void uncertainty_scores(const Matrix& x, Kind kind, float tolerance, const UncertaintyScores& out, int64_t* bad_row);
void mc_uncertainty_scores(const Samples& x, Kind kind, float tolerance, const MCUncertaintyScores& out,
                           int64_t* bad_row);
void squared_norms(const Matrix& x, float* out);
void kcenter_greedy(const Matrix& x, const float* scale, const int64_t* centers, int64_t n_centers,
                    const int64_t* excluded, int64_t n_excluded, int64_t first, int64_t k, Passes passes,
                    const Selection& out, const Tick& tick);
void refresh_bounds(const Matrix& x, const float* scale, const float* centers, int64_t n_centers, const int64_t* rows,
                    int64_t n_rows, const float* floors, float* bounds, int32_t* seen, const Tick& tick);
int64_t farthest_among(const Matrix& x, float* bounds, float floor, int64_t before, int64_t k, int64_t* picks,
                       float* distances, const Tick& tick);
void kmeanspp(const Matrix& x, const int64_t* excluded, int64_t n_excluded, int64_t first, int64_t k, uint64_t seed,
              Passes passes, const Selection& out, const Tick& tick);
void gradient_kmeanspp(const Matrix& outputs, Kind kind, float tolerance, const Matrix& embeddings,
                       const int64_t* excluded, int64_t n_excluded, int64_t k, uint64_t seed, Passes passes,
                       const Selection& out, int64_t* bad_row, const Tick& tick);
void coverage_greedy(const Matrix& x, const float* scale, const Targets& targets, const float* gain,
                     const float* covered, const int64_t* excluded, int64_t n_excluded, float gamma, int64_t k,
                     Passes passes, int64_t memory, const Selection& out, const Tick& tick);

}  // namespace cpu

namespace cuda {

int device_count();    // 0 where there is no driver or no device; never throws
const char* status();  // why it is 0, in words

// All pointers are device pointers. `workspace` is at least *_workspace() bytes, 256-byte aligned.
void uncertainty_scores(const Matrix& x, Kind kind, float tolerance, const UncertaintyScores& out, int64_t* bad_row,
                        const Stream& stream);
size_t mc_uncertainty_scores_workspace(int64_t t, int64_t n, int64_t c);
void mc_uncertainty_scores(const Samples& x, Kind kind, float tolerance, const MCUncertaintyScores& out,
                           int64_t* bad_row, void* workspace, const Stream& stream);
void squared_norms(const Matrix& x, float* out, const Stream& stream);
size_t kcenter_greedy_workspace(int64_t n, int64_t d, int64_t k);
void kcenter_greedy(const Matrix& x, const float* scale, const int64_t* centers, int64_t n_centers,
                    const int64_t* excluded, int64_t n_excluded, int64_t first, int64_t k, Passes passes,
                    const Selection& out, void* workspace, const Stream& stream);
size_t kmeanspp_workspace(int64_t n, int64_t d, int64_t k);
void kmeanspp(const Matrix& x, const int64_t* excluded, int64_t n_excluded, int64_t first, int64_t k, uint64_t seed,
              Passes passes, const Selection& out, void* workspace, const Stream& stream);
size_t gradient_kmeanspp_workspace(int64_t n, int64_t c, int64_t d, int64_t k);
void gradient_kmeanspp(const Matrix& outputs, Kind kind, float tolerance, const Matrix& embeddings,
                       const int64_t* excluded, int64_t n_excluded, int64_t k, uint64_t seed, Passes passes,
                       const Selection& out, int64_t* bad_row, void* workspace, const Stream& stream);
size_t coverage_greedy_workspace(int64_t n, int64_t n_targets);
void coverage_greedy(const Matrix& x, const float* scale, const Targets& targets, const float* gain,
                     const float* covered, const int64_t* excluded, int64_t n_excluded, float gamma, int64_t k,
                     Passes passes, const Selection& out, void* workspace, const Stream& stream);

}  // namespace cuda
}  // namespace autoal
