"""``autoal doctor``: what is installed, which backends are live, and why not."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform

import autoal
from autoal import ops

PACKAGES = (
    "torch",
    "numpy",
    "scikit-learn",
    "matplotlib",
    "faiss-cpu",
    "faiss-gpu",
    "pillow",
    "pyarrow",
    "rdata",
    "safetensors",
    "tokenizers",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def call(arguments: argparse.Namespace) -> None:
    """Prints versions and backends."""
    backends = ops.backends()
    cpu, cuda, faiss = backends["cpu"], backends["cuda"], backends["faiss"]
    print(f"autoal {autoal.__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    print("packages: " + ", ".join(f"{name} {version(name)}" for name in PACKAGES))
    print(f"cpu:      live, instruction set {cpu['isa']} (of {', '.join(cpu['isas'])}), {cpu['threads']} threads")
    if cuda["live"]:
        print("cuda:     live, " + "; ".join(str(device) for device in cuda["devices"]))
    else:
        print(f"cuda:     not live: {cuda['reason']}")
    if faiss["live"]:
        print(f"faiss:    live, version {faiss['version']}, {'with' if faiss['gpu'] else 'without'} GPU")
    else:
        print(f"faiss:    not live: {faiss['reason']}")


def version(package: str) -> str:
    """Its installed version, or that it is not there."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"
