"""FAISS, where it is installed: it searches tiles, on the CPU or the GPU that has them. Nothing else imports it."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from autoal import checks

BACKENDS = ("auto", "faiss", "exact")
GPU_NEIGHBORS = 2048  # that FAISS finds on a GPU


def import_faiss() -> Any:
    """The module, or None where it is not installed."""
    try:
        import faiss
    except ImportError:
        return None
    return faiss


def sees_gpu() -> bool:
    """Whether this is a GPU build of FAISS and a device is live."""
    faiss = import_faiss()
    return faiss is not None and hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0


def chosen(backend: str, device: torch.device, k: int) -> bool:
    """Whether FAISS is to search rows on this device for k neighbors.

    On CUDA "auto" is our own search, until FAISS's has been measured beside it.

    Raises:
        MissingExtraError: If it is asked for and not installed.
        ValueError: If it is asked for and does not reach the device, or ``backend`` is unknown.
    """
    checks.check_choice(backend, "backend", BACKENDS)
    if backend != "faiss":
        return backend == "auto" and device.type == "cpu" and import_faiss() is not None
    if import_faiss() is None:
        raise checks.MissingExtraError("faiss", "cpu" if device.type == "cpu" else "gpu", "backend='faiss'")
    if device.type != "cpu" and not (device.type == "cuda" and sees_gpu()):
        raise ValueError(
            f"backend='faiss' on {device} takes FAISS's GPU build and a live GPU: {checks.how_to_install('gpu')}, "
            "or pass CPU arrays, or backend='exact'"
        )
    if device.type != "cpu" and k > GPU_NEIGHBORS:
        raise ValueError(f"k must be at most {GPU_NEIGHBORS} for FAISS on a GPU, got {k}: pass backend='exact'")
    return True


def smallest(q: Tensor, x: Tensor, k: int, metric: str) -> tuple[Tensor, Tensor]:
    """Of q [P, D] and x [R, D], prepared: what orders the k nearest [P, k], ascending, and their positions in x."""
    faiss = import_faiss()
    kind = faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
    if q.is_cuda:
        import faiss.contrib.torch_utils  # lets FAISS take tensors, in the order of torch's current stream

        with torch.cuda.device(q.device):
            far, positions = faiss.knn_gpu(_gpu_resources(), q, x, k, metric=kind, device=q.device.index)
    else:
        far, positions = map(torch.from_numpy, faiss.knn(q.numpy(), x.numpy(), k, metric=kind))
    return far if metric == "l2" else -far, positions


@functools.cache
def _gpu_resources() -> Any:
    return import_faiss().StandardGpuResources()  # a gigabyte of scratch memory: one for all calls
