// pybind11 only: addresses and sizes become Matrix and Selection, the GIL is released, signals are answered. No
// algorithm.
#include <pybind11/functional.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <chrono>

#include "binding.h"
#include "common/counts.h"
#include "common/parallel.h"
#include "cpu/isa.h"
#include "ops.h"
#if AUTOAL_WITH_CUDA
#include "binding_cuda.h"
#endif

namespace py = pybind11;

namespace autoal {
namespace {

// Between picks, at most every 100 ms: answers Ctrl-C and tells `progress` (a callable or None) how many picks there
// are.
Tick make_tick(const py::object& progress) {
  using Clock = std::chrono::steady_clock;
  return [progress, last = Clock::now()](int64_t picked) mutable {
    const auto now = Clock::now();
    if (now - last < std::chrono::milliseconds(100)) return;
    last = now;
    py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (!progress.is_none()) progress(picked);
  };
}

void bind_cpu(py::module_& m) {
  m.def("isa", [] { return std::string(cpu::isa().name); });
  m.def("isas", &cpu::isas);
  m.def("set_isa", &cpu::set_isa);
  m.def("num_threads", &num_threads);
  m.def("set_num_threads", [](int n) {
    if (n < 1) throw py::value_error("the number of threads must be at least 1");
    set_num_threads(n);
  });

  m.def("take_counts", [] { return std::make_pair(counts().alone.exchange(0), counts().in_panels.exchange(0)); });

  m.def("uncertainty_scores", [](const Matrix& x, int kind, float tolerance, uintptr_t entropy, uintptr_t margin,
                                 uintptr_t least_confidence, uintptr_t bad_row) {
    py::gil_scoped_release nogil;
    cpu::uncertainty_scores(x, static_cast<Kind>(kind), tolerance,
                            {address<float>(entropy), address<float>(margin), address<float>(least_confidence)},
                            address<int64_t>(bad_row));
  });
  m.def("mc_uncertainty_scores", [](const Samples& x, int kind, float tolerance, uintptr_t bald, uintptr_t entropy,
                                    uintptr_t mean_std, uintptr_t variation_ratio, uintptr_t bad_row) {
    py::gil_scoped_release nogil;
    cpu::mc_uncertainty_scores(
        x, static_cast<Kind>(kind), tolerance,
        {address<float>(bald), address<float>(entropy), address<float>(mean_std), address<float>(variation_ratio)},
        address<int64_t>(bad_row));
  });
  m.def("squared_norms", [](const Matrix& x, uintptr_t out) {
    py::gil_scoped_release nogil;
    cpu::squared_norms(x, address<float>(out));
  });
  m.def("refresh_bounds",
        [](const Matrix& x, uintptr_t scale, uintptr_t centers, int64_t n_centers, uintptr_t rows, int64_t n_rows,
           uintptr_t floors, uintptr_t bounds, uintptr_t seen, const py::object& progress) {
          const Tick tick = make_tick(progress);
          py::gil_scoped_release nogil;
          cpu::refresh_bounds(x, address<float>(scale), address<float>(centers), n_centers, address<int64_t>(rows),
                              n_rows, address<float>(floors), address<float>(bounds), address<int32_t>(seen), tick);
        });
  m.def("farthest_among", [](const Matrix& x, uintptr_t bounds, float floor, int64_t before, int64_t k, uintptr_t picks,
                             uintptr_t distances, const py::object& progress) {
    const Tick tick = make_tick(progress);
    py::gil_scoped_release nogil;
    return cpu::farthest_among(x, address<float>(bounds), floor, before, k, address<int64_t>(picks),
                               address<float>(distances), tick);
  });
  m.def("kcenter_greedy", [](const Matrix& x, uintptr_t scale, uintptr_t centers, int64_t n_centers, uintptr_t excluded,
                             int64_t n_excluded, int64_t first, int64_t k, int passes, uintptr_t picks,
                             uintptr_t radius, uintptr_t filled, const py::object& progress) {
    const Tick tick = make_tick(progress);
    py::gil_scoped_release nogil;
    cpu::kcenter_greedy(x, address<float>(scale), address<int64_t>(centers), n_centers, address<int64_t>(excluded),
                        n_excluded, first, k, static_cast<Passes>(passes),
                        {address<int64_t>(picks), address<float>(radius), address<int64_t>(filled)}, tick);
  });
  m.def("kmeanspp", [](const Matrix& x, uintptr_t excluded, int64_t n_excluded, int64_t first, int64_t k, uint64_t seed,
                       int passes, uintptr_t picks, uintptr_t filled, const py::object& progress) {
    const Tick tick = make_tick(progress);
    py::gil_scoped_release nogil;
    cpu::kmeanspp(x, address<int64_t>(excluded), n_excluded, first, k, seed, static_cast<Passes>(passes),
                  {address<int64_t>(picks), nullptr, address<int64_t>(filled)}, tick);
  });
  m.def("gradient_kmeanspp", [](const Matrix& outputs, int kind, float tolerance, const Matrix& embeddings,
                                uintptr_t excluded, int64_t n_excluded, int64_t k, uint64_t seed, int passes,
                                uintptr_t picks, uintptr_t filled, uintptr_t bad_row, const py::object& progress) {
    const Tick tick = make_tick(progress);
    py::gil_scoped_release nogil;
    cpu::gradient_kmeanspp(outputs, static_cast<Kind>(kind), tolerance, embeddings, address<int64_t>(excluded),
                           n_excluded, k, seed, static_cast<Passes>(passes),
                           {address<int64_t>(picks), nullptr, address<int64_t>(filled)}, address<int64_t>(bad_row),
                           tick);
  });
  m.def(
      "coverage_greedy", [](const Matrix& x, uintptr_t scale, const Targets& targets, uintptr_t gain, uintptr_t covered,
                            uintptr_t excluded, int64_t n_excluded, float gamma, int64_t k, int passes, uintptr_t picks,
                            uintptr_t gains, uintptr_t filled, const py::object& progress, int64_t memory) {
        const Tick tick = make_tick(progress);
        py::gil_scoped_release nogil;
        cpu::coverage_greedy(x, address<float>(scale), targets, address<float>(gain), address<float>(covered),
                             address<int64_t>(excluded), n_excluded, gamma, k, static_cast<Passes>(passes), memory,
                             {address<int64_t>(picks), nullptr, address<int64_t>(filled), address<float>(gains)}, tick);
      });
}

}  // namespace
}  // namespace autoal

PYBIND11_MODULE(_core, m) {
  using namespace autoal;
  m.doc() = "Native kernels of autoal; called by autoal.ops alone, which checks the arguments.";
  bind_arguments(m);

  py::module_ cpu_module = m.def_submodule("cpu");
  bind_cpu(cpu_module);

  py::module_ cuda_module = m.def_submodule("cuda");
#if AUTOAL_WITH_CUDA
  m.attr("built_with_cuda") = true;
  bind_cuda(cuda_module);
#else
  m.attr("built_with_cuda") = false;
  cuda_module.def("device_count", [] { return 0; });
  cuda_module.def("status", [] { return "built without CUDA (no nvcc was found, or AUTOAL_CUDA=OFF)"; });
#endif
}
