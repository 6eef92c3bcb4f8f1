// How Python hands in arrays: addresses and sizes as integers, which autoal/ops/native.py takes from tensors.
#pragma once
#include <pybind11/pybind11.h>

#include "ops.h"

namespace autoal {

template <class T>
T* address(uintptr_t value) {
  return reinterpret_cast<T*>(value);
}

// Registered in each module for itself: the two modules do not share types.
inline void bind_arguments(pybind11::module_& m) {
  namespace py = pybind11;
  py::class_<Matrix>(m, "Matrix", py::module_local())
      .def(py::init([](uintptr_t data, int64_t rows, int64_t cols, int dtype) {
        return Matrix{address<void>(data), rows, cols, static_cast<DType>(dtype)};
      }));
  py::class_<Samples>(m, "Samples", py::module_local())
      .def(py::init([](uintptr_t data, int64_t t, int64_t n, int64_t c, int64_t stride_t, int64_t stride_n,
                       int64_t stride_c, int dtype) {
        return Samples{address<void>(data), t, n, c, stride_t, stride_n, stride_c, static_cast<DType>(dtype)};
      }));
  py::class_<Targets>(m, "Targets", py::module_local())
      .def(py::init([](uintptr_t rows, uintptr_t weights, int64_t count, uintptr_t own) {
        return Targets{address<int64_t>(rows), address<float>(weights), count, address<float>(own)};
      }));
}

}  // namespace autoal
