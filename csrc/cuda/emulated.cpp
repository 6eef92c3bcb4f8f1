// The CUDA backend's own source, compiled as plain C++ over host_cuda.h: a module for tests, where there is no GPU.
// Beside it, the bounds of both backends laid open.
#include <pybind11/pybind11.h>

#include <pybind11/stl.h>

#include "binding_cuda.h"
#include "bounds_probe.h"
#include "cpu/isa.h"
#include "cuda/device.h"

PYBIND11_MODULE(_emu, m) {
  using namespace autoal;
  m.doc() = "The CUDA kernels on an emulator; for tests.";
  bind_arguments(m);
  bind_cuda(m);
  pybind11::register_exception<dev::EmulationError>(m, "EmulationError");
  m.def(
      "set_order",
      [](const std::string& order, uint64_t seed) {
        auto& settings = dev::host::settings();
        if (order == "forward")
          settings.order = dev::Order::forward;
        else if (order == "reverse")
          settings.order = dev::Order::reverse;
        else if (order == "random")
          settings.order = dev::Order::random;
        else if (order == "eager")
          settings.order = dev::Order::eager;
        else
          throw std::invalid_argument("order must be forward, reverse, random or eager");
        settings.seed = seed;
      },
      pybind11::arg("order"), pybind11::arg("seed") = 0);
  m.def("isas", &cpu::isas);
  m.def("set_isa", &cpu::set_isa);
  m.def("probe_bounds", [](bool on_cuda, const Matrix& x, uintptr_t a, int64_t c, bool apart, uintptr_t bounds,
                           uintptr_t exact, uintptr_t left) {
    (on_cuda ? cuda::probe_bounds : cpu::probe_bounds)(
        x, address<float>(a), c, apart, {address<float>(bounds), address<float>(exact), address<bool>(left)});
  });
  m.def("set_resident_blocks", [](unsigned n) { dev::host::settings().resident_blocks = n; });
}
