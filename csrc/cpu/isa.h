// The hot functions of one instruction set, and the choice among them at run time.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "ops.h"

namespace autoal::cpu {

// What each does stands beside its definition in hot_*.cpp.
struct Isa {
  const char* name;
  void (*read_row)(const void* x, int dtype, int64_t i, int64_t d, const float* scale, float* out);
  void (*prefetch_row)(const void* x, int dtype, int64_t i, int64_t d);
  int64_t (*cover)(const void* x, int dtype, int64_t begin, int64_t end, int64_t d, const float* scale,
                   const float* center, float* buffer, float* weight, double* total);
  void (*dots)(const void* x, int dtype, int64_t begin, int64_t end, int64_t d, const float* other, float* buffer,
               float* out);
  float (*product)(const float* a, const float* b, int64_t d);
  float (*distance)(const float* a, const float* b, int64_t d);
  int64_t (*panel_width)();
  void (*panel_set)(float* panel, int64_t lane, const float* row, int64_t d);
  void (*panel_products)(const float* rows, int64_t n, int64_t stride, const float* panel, int64_t d, float* out);
  void (*panel_multiply)(const float* a, const float* b, int64_t n, float* out);
  void (*panel_largest)(const float* products, int64_t n, const float* lengths, const float* length, float* out);
  void (*panel_below)(const float* products, int64_t n, const float* offset, const float* threshold, uint64_t* hits);
  void (*panel_kernel)(float* products, int64_t n, const float* norms, const float* panel_norms, const float* limits,
                       const float* row_limits, float gamma, float slack, uint64_t* near);
  void (*panel_gains)(const float* k, int64_t n, const float* weights, const float* covered, double magic,
                      uint64_t* out);
  void (*panel_gains_back)(const float* k, int64_t n, const float* weights, const float* covered, double magic,
                           uint64_t* out);
  void (*panel_live)(const float* k, int64_t n, const float* covered, uint64_t* live);
  void (*panel_live_back)(const float* k, int64_t n, const float* covered, uint64_t* live);
  int64_t (*uncertainty)(const void* x, int dtype, int probs, float tolerance, int64_t begin, int64_t end, int64_t c,
                         float* buffer, float* entropy, float* margin, float* least_confidence);
  int64_t (*mc_uncertainty)(const void* x, int dtype, int probs, float tolerance, int64_t t, int64_t c,
                            int64_t stride_t, int64_t stride_n, int64_t stride_c, int64_t begin, int64_t end,
                            float* buffer, float* bald, float* entropy, float* mean_std, float* variation_ratio);
  int64_t (*residuals)(const void* x, int dtype, int probs, float tolerance, int64_t begin, int64_t end, int64_t c,
                       float* buffer, float* out);
};

const Isa& isa();                       // the one in use
std::vector<std::string> isas();        // those that this processor runs, the best last
void set_isa(const std::string& name);  // throws std::invalid_argument

// The hot files pad rows to this many floats.
constexpr int64_t kLanes = 16;
constexpr int64_t padded(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

// Up to so many classes a vector holds one class of several rows, beyond several classes of one row. Both are equally
// fast between 64 and 100; MC scores, which keep more of each class, gain up to 256. Scores need a buffer of so many
// floats: columns; or two rows half a page apart (softmax.h) and a third.
constexpr int64_t kFewClasses = 64, kFewMCClasses = 256;
constexpr int64_t score_buffer(int64_t c) {
  return c <= kFewClasses ? kLanes * c : 2 * ((c + 1023) / 1024 * 1024 + 512) + padded(c);
}
constexpr int64_t mc_score_buffer(int64_t c) { return c <= kFewMCClasses ? 8 * kLanes * c : 5 * padded(c); }

}  // namespace autoal::cpu
