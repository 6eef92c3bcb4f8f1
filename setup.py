"""Builds the native core with CMake. Metadata lives in pyproject.toml.

Settings, from the environment:
  AUTOAL_CUDA=AUTO|ON|OFF     AUTOAL_CUDA_ARCHS="80-real;90"    CMAKE_ARGS="-D..."
  AUTOAL_BUILD_DIR=build/x    keeps the build tree, so a second build is incremental
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent


class CMakeExtension(Extension):
    """A module that CMake builds: no sources that setuptools knows of."""

    def __init__(self, name: str, optional: bool = False) -> None:
        super().__init__(name, sources=[], optional=optional)


class CMakeBuild(build_ext):
    """One CMake build makes every module of the package; `cmake --install` places them."""

    done = False

    def build_extension(self, ext: Extension) -> None:
        if not isinstance(ext, CMakeExtension):
            super().build_extension(ext)
            return
        if self.done:  # all modules came out of the first run
            return
        self.done = True
        import pybind11

        # where setuptools wants the package's modules: build/lib... or, for -e, the source
        out = Path(self.get_ext_fullpath(ext.name)).resolve().parent
        build = Path(os.environ.get("AUTOAL_BUILD_DIR") or self.build_temp).resolve()
        build.mkdir(parents=True, exist_ok=True)
        args = [
            "-S",
            str(HERE),
            "-B",
            str(build),
            f"-DCMAKE_BUILD_TYPE={'Debug' if self.debug else 'Release'}",
            f"-DCMAKE_INSTALL_PREFIX={out.parent}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
        ]
        for name in ("AUTOAL_CUDA", "AUTOAL_CUDA_ARCHS", "AUTOAL_SANITIZE", "AUTOAL_EMULATION"):
            if os.environ.get(name):
                args.append(f"-D{name}={os.environ[name]}")
        args += shlex.split(os.environ.get("CMAKE_ARGS", ""))
        if not os.environ.get("AUTOAL_BUILD_DIR"):
            # an old cache may name the tools of an isolated environment that is gone
            args.append("--fresh")
        if "CMAKE_GENERATOR" not in os.environ and shutil.which("ninja"):
            args.append("-GNinja")
        subprocess.run(["cmake", *args], check=True)
        jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL") or str(os.cpu_count() or 1)
        subprocess.run(["cmake", "--build", str(build), "--parallel", jobs], check=True)
        subprocess.run(["cmake", "--install", str(build)], check=True)


setup(
    # every module CMake installs must be named here, or `pip install -e` leaves it behind
    ext_modules=[CMakeExtension("autoal._core"), CMakeExtension("autoal._emu", optional=True)],
    cmdclass={"build_ext": CMakeBuild},
)
