"""The compiled module, tensor by tensor: outputs and workspace are allocated here, the kernels get addresses.

Nothing else imports ``autoal._core``. Arguments are checked before (``autoal.ops``); what is asked here of a tensor is
only its memory: rows one after the other, else they are copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

try:
    from autoal import _core
except ImportError as error:
    raise ImportError(
        f"autoal's compiled module autoal._core cannot be imported ({error}): "
        "build it with `pip install -e .` in the folder of setup.py (it needs a C++ compiler)"
    ) from error

DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
AUTO, PLAIN, LAZY = 0, 1, 2  # how the kernels go about a selection: one pass per pick, or what the answer needs
LIST_BYTES = 1 << 28  # of similarities that the CPU's coverage_greedy keeps at most

cpu: Any = _core.cpu
built_with_cuda = bool(_core.built_with_cuda)

# torch's dispatcher carries no callables, so the progress callback travels beside it.
_tick: ContextVar[Callable[[int], None] | None] = ContextVar("autoal_tick", default=None)


@contextmanager
def ticking(tick: Callable[[int], None] | None) -> Iterator[None]:
    """CPU selection ops within call ``tick(number picked)`` between picks, some times a second."""
    token = _tick.set(tick)
    try:
        yield
    finally:
        _tick.reset(token)


def cuda() -> Any:
    """The CUDA half of the module.

    Raises:
        RuntimeError: If it was built without nvcc, or no device is live.
    """
    if not built_with_cuda:
        raise RuntimeError(
            "this build of autoal has no CUDA kernels: reinstall it where nvcc is found "
            "(AUTOAL_CUDA=ON pip install .), or pass CPU tensors"
        )
    if not _core.cuda.device_count():
        raise RuntimeError(f"autoal's CUDA kernels see no device: {_core.cuda.status()}")
    return _core.cuda


def cuda_status() -> tuple[int, str]:
    """How many devices the CUDA kernels see, and why it is none."""
    if not built_with_cuda:
        return 0, "built without CUDA: reinstall where nvcc is found (AUTOAL_CUDA=ON pip install .)"
    return int(_core.cuda.device_count()), str(_core.cuda.status())


def take_counts() -> tuple[int, int]:
    """Pairs of rows that CPU selections of this process compared since the last call: one by one, in panels."""
    alone, in_panels = cpu.take_counts()
    return int(alone), int(in_panels)


def uncertainty_scores(x: Tensor, probs: bool, tolerance: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x [N, C] -> entropy, margin, least_confidence [N], bad_row [1]."""
    x = x.contiguous()
    entropy, margin, least_confidence = (_floats(x, len(x)) for _ in range(3))
    bad_row = _integers(x, 1)
    arguments = (_matrix(x), int(probs), tolerance, *_addresses(entropy, margin, least_confidence, bad_row))
    if x.is_cuda:
        cuda().uncertainty_scores(*arguments, *_place(x))
    else:
        cpu.uncertainty_scores(*arguments)
    return entropy, margin, least_confidence, bad_row


def mc_uncertainty_scores(x: Tensor, probs: bool, tolerance: float) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """x [T, N, C], any strides -> bald, entropy, mean_std, variation_ratio [N], bad_row [1]."""
    n = x.shape[1]
    bald, entropy, mean_std, variation_ratio = (_floats(x, n) for _ in range(4))
    bad_row = _integers(x, 1)
    samples = _core.Samples(x.data_ptr(), *x.shape, *x.stride(), DTYPES[x.dtype])
    outputs = _addresses(bald, entropy, mean_std, variation_ratio, bad_row)
    if x.is_cuda:
        workspace = _workspace(x, cuda().mc_uncertainty_scores_workspace(*x.shape))
        cuda().mc_uncertainty_scores(samples, int(probs), tolerance, *outputs, workspace.data_ptr(), *_place(x))
    else:
        cpu.mc_uncertainty_scores(samples, int(probs), tolerance, *outputs)
    return bald, entropy, mean_std, variation_ratio, bad_row


def squared_norms(x: Tensor) -> Tensor:
    """x [N, D] -> |x_i|^2 [N]."""
    x = x.contiguous()
    out = _floats(x, len(x))
    if x.is_cuda:
        cuda().squared_norms(_matrix(x), out.data_ptr(), *_place(x))
    else:
        cpu.squared_norms(_matrix(x), out.data_ptr())
    return out


def kcenter_greedy(
    x: Tensor,
    scale: Tensor | None,
    centers: Tensor,
    first: int,
    k: int,
    passes: int = AUTO,
    *,
    excluded: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """x [N, D], scale [N] or None, centers [L], excluded [E] int64 or None -> picks [k], radius [k], filled [1]."""
    x, centers = x.contiguous(), centers.contiguous()
    scale, excluded = (None if part is None else part.contiguous() for part in (scale, excluded))
    picks, radius, filled = _integers(x, k), _floats(x, k), _integers(x, 1)
    arguments = (_matrix(x), _address(scale), centers.data_ptr(), len(centers), *_list(excluded), first, k)
    answers = _addresses(picks, radius, filled)
    if x.is_cuda:
        workspace = _workspace(x, cuda().kcenter_greedy_workspace(*x.shape, k))
        cuda().kcenter_greedy(*arguments, passes, *answers, workspace.data_ptr(), *_place(x))
    else:
        cpu.kcenter_greedy(*arguments, passes, *answers, _tick.get())
    return picks, radius, filled


def refresh_bounds(
    x: Tensor, scale: Tensor | None, centers: Tensor, rows: Tensor, floors: Tensor, bounds: Tensor, seen: Tensor
) -> None:
    """x [N, D], scale [N] or None, centers [M, D] float32, rows, floors [R]: lowers bounds [N], raises seen [N]."""
    arguments = (_matrix(x), _address(scale), centers.data_ptr(), len(centers), rows.data_ptr(), len(rows))
    cpu.refresh_bounds(*arguments, *_addresses(floors, bounds, seen), _tick.get())


def farthest_among(x: Tensor, bounds: Tensor, floor: float, before: int, k: int) -> tuple[Tensor, Tensor]:
    """x [N, D] float32 -> picks [P], their squared distances [P], P at most k; lowers bounds [N]."""
    picks, distances = _integers(x, k), _floats(x, k)
    count = cpu.farthest_among(
        _matrix(x), bounds.data_ptr(), floor, before, k, *_addresses(picks, distances), _tick.get()
    )
    return picks[:count], distances[:count]


def kmeanspp(
    x: Tensor, first: int, k: int, seed: int, passes: int = AUTO, *, excluded: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """x [N, D], excluded [E] int64 or None -> picks [k], filled [1]."""
    x, excluded = x.contiguous(), None if excluded is None else excluded.contiguous()
    picks, filled = _integers(x, k), _integers(x, 1)
    arguments, answers = (_matrix(x), *_list(excluded), first, k, seed), _addresses(picks, filled)
    if x.is_cuda:
        workspace = _workspace(x, cuda().kmeanspp_workspace(*x.shape, k))
        cuda().kmeanspp(*arguments, passes, *answers, workspace.data_ptr(), *_place(x))
    else:
        cpu.kmeanspp(*arguments, passes, *answers, _tick.get())
    return picks, filled


def gradient_kmeanspp(
    outputs: Tensor,
    probs: bool,
    tolerance: float,
    embeddings: Tensor,
    k: int,
    seed: int,
    passes: int = AUTO,
    *,
    excluded: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """outputs [N, C], embeddings [N, D], excluded [E] int64 or None -> picks [k], filled [1], bad_row [1]."""
    outputs, embeddings = outputs.contiguous(), embeddings.contiguous()
    excluded = None if excluded is None else excluded.contiguous()
    picks, filled, bad_row = _integers(outputs, k), _integers(outputs, 1), _integers(outputs, 1)
    arguments = (_matrix(outputs), int(probs), tolerance, _matrix(embeddings), *_list(excluded), k, seed)
    answers = _addresses(picks, filled, bad_row)
    if outputs.is_cuda:
        workspace = _workspace(outputs, cuda().gradient_kmeanspp_workspace(*outputs.shape, embeddings.shape[1], k))
        cuda().gradient_kmeanspp(*arguments, passes, *answers, workspace.data_ptr(), *_place(outputs))
    else:
        cpu.gradient_kmeanspp(*arguments, passes, *answers, _tick.get())
    return picks, filled, bad_row


def coverage_greedy(
    x: Tensor,
    scale: Tensor | None,
    targets: Tensor,
    weights: Tensor,
    own: Tensor | None,
    gain: Tensor,
    covered: Tensor,
    excluded: Tensor,
    gamma: float,
    k: int,
    passes: int = AUTO,
    memory: int = LIST_BYTES,
) -> tuple[Tensor, Tensor, Tensor]:
    """x [N, D], targets, weights [T], own, gain, covered [N], excluded [L] -> picks [k], gains [k], filled [1]."""
    x, targets, weights, gain, covered, excluded = (
        part.contiguous() for part in (x, targets, weights, gain, covered, excluded)
    )
    scale, own = (None if part is None else part.contiguous() for part in (scale, own))
    picks, gains, filled = _integers(x, k), _floats(x, k), _integers(x, 1)
    goals = _core.Targets(targets.data_ptr(), weights.data_ptr(), len(targets), _address(own))
    arguments = (_matrix(x), _address(scale), goals, *_addresses(gain, covered, excluded), len(excluded), gamma, k)
    answers = _addresses(picks, gains, filled)
    if x.is_cuda:
        workspace = _workspace(x, cuda().coverage_greedy_workspace(len(x), len(targets)))
        cuda().coverage_greedy(*arguments, passes, *answers, workspace.data_ptr(), *_place(x))
    else:
        cpu.coverage_greedy(*arguments, passes, *answers, _tick.get(), memory)
    return picks, gains, filled


def _matrix(x: Tensor) -> Any:
    return _core.Matrix(x.data_ptr(), *x.shape, DTYPES[x.dtype])


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _list(rows: Tensor | None) -> tuple[int, int]:
    """Address and length."""
    return _address(rows), 0 if rows is None else len(rows)


def _addresses(*tensors: Tensor) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]


def _floats(like: Tensor, length: int) -> Tensor:
    return torch.empty(length, dtype=torch.float32, device=like.device)


def _integers(like: Tensor, length: int) -> Tensor:
    return torch.empty(length, dtype=torch.int64, device=like.device)


def _workspace(like: Tensor, n_bytes: int) -> Tensor:
    # torch's CUDA allocator aligns to 512 bytes and hands memory on only in the order of the stream.
    return torch.empty(n_bytes, dtype=torch.uint8, device=like.device)


def _place(x: Tensor) -> tuple[int, int]:
    """Device number and the stream that torch works on there at this moment."""
    return int(x.get_device()), int(torch.cuda.current_stream(x.device).cuda_stream)
