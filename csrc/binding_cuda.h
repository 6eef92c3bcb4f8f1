// The Python face of the CUDA kernels: for _core, and for the emulated test module, which runs the same source on the
// CPU.
#pragma once
#include <pybind11/pybind11.h>

#include "binding.h"
#include "ops.h"

namespace autoal {

inline void bind_cuda(pybind11::module_& m) {
  using Nogil = pybind11::call_guard<pybind11::gil_scoped_release>;
  using A = uintptr_t;
  m.def("device_count", &cuda::device_count);
  m.def("status", &cuda::status);
  m.def("mc_uncertainty_scores_workspace", &cuda::mc_uncertainty_scores_workspace);
  m.def("kcenter_greedy_workspace", &cuda::kcenter_greedy_workspace);
  m.def("kmeanspp_workspace", &cuda::kmeanspp_workspace);
  m.def("gradient_kmeanspp_workspace", &cuda::gradient_kmeanspp_workspace);
  m.def("coverage_greedy_workspace", &cuda::coverage_greedy_workspace);

  m.def(
      "uncertainty_scores",
      [](const Matrix& x, int kind, float tolerance, A entropy, A margin, A least_confidence, A bad_row, int device,
         A stream) {
        cuda::uncertainty_scores(x, static_cast<Kind>(kind), tolerance,
                                 {address<float>(entropy), address<float>(margin), address<float>(least_confidence)},
                                 address<int64_t>(bad_row), {device, address<void>(stream)});
      },
      Nogil());
  m.def(
      "mc_uncertainty_scores",
      [](const Samples& x, int kind, float tolerance, A bald, A entropy, A mean_std, A variation_ratio, A bad_row,
         A workspace, int device, A stream) {
        cuda::mc_uncertainty_scores(
            x, static_cast<Kind>(kind), tolerance,
            {address<float>(bald), address<float>(entropy), address<float>(mean_std), address<float>(variation_ratio)},
            address<int64_t>(bad_row), address<void>(workspace), {device, address<void>(stream)});
      },
      Nogil());
  m.def(
      "squared_norms",
      [](const Matrix& x, A out, int device, A stream) {
        cuda::squared_norms(x, address<float>(out), {device, address<void>(stream)});
      },
      Nogil());
  m.def(
      "kcenter_greedy",
      [](const Matrix& x, A scale, A centers, int64_t n_centers, A excluded, int64_t n_excluded, int64_t first,
         int64_t k, int passes, A picks, A radius, A filled, A workspace, int device, A stream) {
        cuda::kcenter_greedy(x, address<float>(scale), address<int64_t>(centers), n_centers, address<int64_t>(excluded),
                             n_excluded, first, k, static_cast<Passes>(passes),
                             {address<int64_t>(picks), address<float>(radius), address<int64_t>(filled)},
                             address<void>(workspace), {device, address<void>(stream)});
      },
      Nogil());
  m.def(
      "kmeanspp",
      [](const Matrix& x, A excluded, int64_t n_excluded, int64_t first, int64_t k, uint64_t seed, int passes, A picks,
         A filled, A workspace, int device, A stream) {
        cuda::kmeanspp(x, address<int64_t>(excluded), n_excluded, first, k, seed, static_cast<Passes>(passes),
                       {address<int64_t>(picks), nullptr, address<int64_t>(filled)}, address<void>(workspace),
                       {device, address<void>(stream)});
      },
      Nogil());
  m.def(
      "gradient_kmeanspp",
      [](const Matrix& outputs, int kind, float tolerance, const Matrix& embeddings, A excluded, int64_t n_excluded,
         int64_t k, uint64_t seed, int passes, A picks, A filled, A bad_row, A workspace, int device, A stream) {
        cuda::gradient_kmeanspp(outputs, static_cast<Kind>(kind), tolerance, embeddings, address<int64_t>(excluded),
                                n_excluded, k, seed, static_cast<Passes>(passes),
                                {address<int64_t>(picks), nullptr, address<int64_t>(filled)}, address<int64_t>(bad_row),
                                address<void>(workspace), {device, address<void>(stream)});
      },
      Nogil());
  m.def(
      "coverage_greedy",
      [](const Matrix& x, A scale, const Targets& targets, A gain, A covered, A excluded, int64_t n_excluded,
         float gamma, int64_t k, int passes, A picks, A gains, A filled, A workspace, int device, A stream) {
        cuda::coverage_greedy(x, address<float>(scale), targets, address<float>(gain), address<float>(covered),
                              address<int64_t>(excluded), n_excluded, gamma, k, static_cast<Passes>(passes),
                              {address<int64_t>(picks), nullptr, address<int64_t>(filled), address<float>(gains)},
                              address<void>(workspace), {device, address<void>(stream)});
      },
      Nogil());
}

}  // namespace autoal
