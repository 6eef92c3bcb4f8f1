"""What computes here: CPU instruction set and threads, CUDA devices or why there are none, FAISS or how to get it."""

from __future__ import annotations

from typing import Any

import torch

from autoal import checks
from autoal.ops import native, with_faiss


def backends() -> dict[str, dict[str, Any]]:
    """What is live.

    Returns:
        ``"cpu"``: ``isa`` (in use), ``isas`` (this machine's), ``threads``.
        ``"cuda"``: ``live``, ``built`` (with CUDA kernels), ``devices`` (names), ``reason`` (why not, or None).
        ``"faiss"``: ``live``, ``version``, ``gpu`` (whether it sees one), ``reason`` (how to get it, or None).
    """
    cpu = {"isa": native.cpu.isa(), "isas": list(native.cpu.isas()), "threads": native.cpu.num_threads()}
    return {"cpu": cpu, "cuda": _cuda(), "faiss": _faiss()}


def set_num_threads(n: int) -> None:
    """Lets the CPU kernels use n threads. At first: AUTOAL_NUM_THREADS, else OMP_NUM_THREADS, else the free cores.

    Raises:
        TypeError: If ``n`` is no integer.
        ValueError: If it is below 1.
    """
    native.cpu.set_num_threads(checks.as_count(n, "n", low=1))


def _cuda() -> dict[str, Any]:
    count, status = native.cuda_status()
    reason = None if count else status
    if count and not torch.cuda.is_available():
        reason = f"the kernels see {count} device(s) but torch {torch.__version__} none: install a CUDA build of torch"
    devices = [] if reason else [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"live": reason is None, "built": native.built_with_cuda, "devices": devices, "reason": reason}


def _faiss() -> dict[str, Any]:
    faiss = with_faiss.import_faiss()
    if faiss is None:
        reason = f"not installed: {checks.how_to_install('cpu')}; until then ops.knn uses its own search"
        return {"live": False, "version": None, "gpu": False, "reason": reason}
    return {"live": True, "version": faiss.__version__, "gpu": with_faiss.sees_gpu(), "reason": None}
