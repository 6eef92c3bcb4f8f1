#include "cpu/isa.h"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#define AUTOAL_DECLARE(v)                                                                                             \
  extern "C" {                                                                                                        \
  void autoal_read_row_##v(const void*, int, int64_t, int64_t, const float*, float*);                                 \
  void autoal_prefetch_row_##v(const void*, int, int64_t, int64_t);                                                   \
  int64_t autoal_cover_##v(const void*, int, int64_t, int64_t, int64_t, const float*, const float*, float*, float*,   \
                           double*);                                                                                  \
  void autoal_dots_##v(const void*, int, int64_t, int64_t, int64_t, const float*, float*, float*);                    \
  float autoal_product_##v(const float*, const float*, int64_t);                                                      \
  float autoal_distance_##v(const float*, const float*, int64_t);                                                     \
  int64_t autoal_panel_width_##v();                                                                                   \
  void autoal_panel_set_##v(float*, int64_t, const float*, int64_t);                                                  \
  void autoal_panel_products_##v(const float*, int64_t, int64_t, const float*, int64_t, float*);                      \
  void autoal_panel_multiply_##v(const float*, const float*, int64_t, float*);                                        \
  void autoal_panel_largest_##v(const float*, int64_t, const float*, const float*, float*);                           \
  void autoal_panel_below_##v(const float*, int64_t, const float*, const float*, uint64_t*);                          \
  void autoal_panel_kernel_##v(float*, int64_t, const float*, const float*, const float*, const float*, float, float, \
                               uint64_t*);                                                                            \
  void autoal_panel_gains_##v(const float*, int64_t, const float*, const float*, double, uint64_t*);                  \
  void autoal_panel_gains_back_##v(const float*, int64_t, const float*, const float*, double, uint64_t*);             \
  void autoal_panel_live_##v(const float*, int64_t, const float*, uint64_t*);                                         \
  void autoal_panel_live_back_##v(const float*, int64_t, const float*, uint64_t*);                                    \
  int64_t autoal_uncertainty_##v(const void*, int, int, float, int64_t, int64_t, int64_t, float*, float*, float*,     \
                                 float*);                                                                             \
  int64_t autoal_mc_uncertainty_##v(const void*, int, int, float, int64_t, int64_t, int64_t, int64_t, int64_t,        \
                                    int64_t, int64_t, float*, float*, float*, float*, float*);                        \
  int64_t autoal_residuals_##v(const void*, int, int, float, int64_t, int64_t, int64_t, float*, float*);              \
  }                                                                                                                   \
  static const autoal::cpu::Isa isa_##v{#v,                                                                           \
                                        autoal_read_row_##v,                                                          \
                                        autoal_prefetch_row_##v,                                                      \
                                        autoal_cover_##v,                                                             \
                                        autoal_dots_##v,                                                              \
                                        autoal_product_##v,                                                           \
                                        autoal_distance_##v,                                                          \
                                        autoal_panel_width_##v,                                                       \
                                        autoal_panel_set_##v,                                                         \
                                        autoal_panel_products_##v,                                                    \
                                        autoal_panel_multiply_##v,                                                    \
                                        autoal_panel_largest_##v,                                                     \
                                        autoal_panel_below_##v,                                                       \
                                        autoal_panel_kernel_##v,                                                      \
                                        autoal_panel_gains_##v,                                                       \
                                        autoal_panel_gains_back_##v,                                                  \
                                        autoal_panel_live_##v,                                                        \
                                        autoal_panel_live_back_##v,                                                   \
                                        autoal_uncertainty_##v,                                                       \
                                        autoal_mc_uncertainty_##v,                                                    \
                                        autoal_residuals_##v};

AUTOAL_DECLARE(base)
#if AUTOAL_X86
AUTOAL_DECLARE(avx2)
AUTOAL_DECLARE(avx512)
#endif

namespace autoal::cpu {
namespace {

std::vector<const Isa*> usable() {
  std::vector<const Isa*> v{&isa_base};
#if AUTOAL_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))
    v.push_back(&isa_avx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("f16c"))
    v.push_back(&isa_avx512);
#endif
  return v;
}

const Isa* find(const std::string& name) {
  for (const Isa* i : usable())
    if (name == i->name) return i;
  std::string known;
  for (const Isa* i : usable()) known += std::string(known.empty() ? "" : ", ") + i->name;
  throw std::invalid_argument("this processor has no instruction set '" + name + "'; it has: " + known);
}

std::atomic<const Isa*>& current() {
  static std::atomic<const Isa*> chosen{[] {
    const char* e = std::getenv("AUTOAL_CPU");
    return e && *e ? find(e) : usable().back();
  }()};
  return chosen;
}

}  // namespace

const Isa& isa() { return *current().load(std::memory_order_acquire); }
void set_isa(const std::string& name) { current().store(find(name), std::memory_order_release); }

std::vector<std::string> isas() {
  std::vector<std::string> names;
  for (const Isa* i : usable()) names.emplace_back(i->name);
  return names;
}

}  // namespace autoal::cpu
