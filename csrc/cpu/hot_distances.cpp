// Distances and inner products of rows; compiled once per instruction set. See vector.h for what may not stand here.
#include "cpu/vector.h"

namespace {

constexpr int kAccumulators = 4;

inline float reduce(const Floats (&acc)[kAccumulators]) { return sum((acc[0] + acc[1]) + (acc[2] + acc[3])); }

// Both read a and b up to padded(d); what stands beyond d does not count.
__attribute__((noinline)) float squared_distance(const float* a, const float* b, int64_t d) {
  Floats acc[kAccumulators] = {};
  int64_t j = 0;
  for (; j + kAccumulators * kLanes <= d; j += kAccumulators * kLanes)
    for (int u = 0; u < kAccumulators; ++u) {
      const Floats diff = load(a + j + u * kLanes) - load(b + j + u * kLanes);
      acc[u] += diff * diff;
    }
  for (; j < d; j += kLanes) {
    const Floats diff = first_lanes(load(a + j) - load(b + j), d - j, 0.0f);
    acc[0] += diff * diff;
  }
  return reduce(acc);
}

// Never inlined: a norm <a, a> and a product <a, b> of a copy b of a must come out equal to the last bit.
__attribute__((noinline)) float dot(const float* a, const float* b, int64_t d) {
  Floats acc[kAccumulators] = {};
  int64_t j = 0;
  for (; j + kAccumulators * kLanes <= d; j += kAccumulators * kLanes)
    for (int u = 0; u < kAccumulators; ++u) acc[u] += load(a + j + u * kLanes) * load(b + j + u * kLanes);
  for (; j < d; j += kLanes) acc[0] += first_lanes(load(a + j), d - j, 0.0f) * first_lanes(load(b + j), d - j, 0.0f);
  return reduce(acc);
}

__attribute__((noinline)) void scale_row(float* row, int64_t d, float scale) {
  for (int64_t j = 0; j < d; ++j) row[j] *= scale;
}

// Row i as floats of which padded(d) may be read: in place where the rows up to `end` leave room for that, else
// converted (and scaled) into `buffer` [padded(d)].
inline const float* row_at(const void* x, int dtype, int64_t i, int64_t end, int64_t d, const float* scale,
                           float* buffer) {
  const int64_t room = (end - i) * d;
  if (dtype == kFloat32 && !scale && padded(d) <= room) return static_cast<const float*>(x) + i * d;
  read(x, dtype, i * d, 1, d, room, 0.0f, buffer);
  if (scale) scale_row(buffer, d, scale[i]);
  return buffer;
}

}  // namespace

extern "C" {

// Row i into out [padded(d)].
void AUTOAL_HOT(autoal_read_row)(const void* x, int dtype, int64_t i, int64_t d, const float* scale, float* out) {
  read(x, dtype, i * d, 1, d, d, 0.0f, out);
  if (scale) scale_row(out, d, scale[i]);
}

void AUTOAL_HOT(autoal_prefetch_row)(const void* x, int dtype, int64_t i, int64_t d) {
  const int64_t size = d * (dtype == kFloat32 ? 4 : 2);
  const char* row = static_cast<const char*>(x) + i * size;
  for (int64_t byte = 0; byte < size; byte += 64) __builtin_prefetch(row + byte);
}

// |a - b|^2 as autoal_cover takes it; a, b [padded(d)].
float AUTOAL_HOT(autoal_distance)(const float* a, const float* b, int64_t d) { return squared_distance(a, b, d); }

// <a, b> as autoal_dots takes it; a, b [padded(d)].
float AUTOAL_HOT(autoal_product)(const float* a, const float* b, int64_t d) { return dot(a, b, d); }

// weight[i] = min(weight[i], |x_i - center|^2) for rows [begin, end); center, buffer [padded(d)]. Gives the row of the
// largest weight (the lowest on ties) and the sum of the weights.
int64_t AUTOAL_HOT(autoal_cover)(const void* x, int dtype, int64_t begin, int64_t end, int64_t d, const float* scale,
                                 const float* center, float* buffer, float* weight, double* total) {
  int64_t best = begin;
  double s = 0.0;
  for (int64_t i = begin; i < end; ++i) {
    const float distance = squared_distance(row_at(x, dtype, i, end, d, scale, buffer), center, d);
    if (distance < weight[i]) weight[i] = distance;
    if (weight[i] > weight[best]) best = i;
    s += weight[i];
  }
  *total = s;
  return best;
}

// out[i - begin] = <x_i, other> for rows [begin, end); other [padded(d)], nullptr: |x_i|^2; buffer [padded(d)].
void AUTOAL_HOT(autoal_dots)(const void* x, int dtype, int64_t begin, int64_t end, int64_t d, const float* other,
                             float* buffer, float* out) {
  for (int64_t i = begin; i < end; ++i) {
    const float* row = row_at(x, dtype, i, end, d, nullptr, buffer);
    out[i - begin] = dot(row, other ? other : row, d);
  }
}

}  // extern "C"
