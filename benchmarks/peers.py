"""Other packages' selections, called as their users call them; what they answer is checked before they are timed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor


def module_or_none(name: str) -> Any:
    """The module, or None where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def compiled(step: Callable[..., Any]) -> Callable[..., Any]:
    """The step through torch.compile. Compiling happens at the first call, which is never timed."""
    return torch.compile(step, dynamic=False)


def mundig_kcenter(x: np.ndarray, k: int) -> list[int]:
    """lightly-mundig's diversifying strategy: farthest-first from row 0 (compiled Rust)."""
    selection = module_or_none("lightly_mundig").Selection()
    selection.add_diversifying_strategy(x, 1.0)
    return list(selection.run_selection([0], len(x), k))


def skactiveml_kcenter(x: np.ndarray, k: int) -> list[int]:
    """scikit-activeml's core-set with row 0 labeled; all rows are measured anew with each pick."""
    core_set = importlib.import_module("skactiveml.pool._core_set")
    y = np.full(len(x), np.nan)
    y[0] = 0
    answer = core_set.k_greedy_center(x, y, batch_size=k - 1, random_state=0)
    return [0, *np.asarray(answer[0] if isinstance(answer, tuple) else answer).tolist()]


def apricot_coverage(similarities: np.ndarray, k: int) -> list[int]:
    """apricot's facility location, lazy greedy, of a matrix of all pairs [N, N] float64."""
    selector = module_or_none("apricot").FacilityLocationSelection(k, metric="precomputed", optimizer="lazy")
    return [int(i) for i in selector.fit(similarities).ranking]


def submodlib_coverage(similarities: np.ndarray, k: int) -> list[int]:
    """submodlib's facility location, lazy greedy in C++, of a matrix of all pairs [N, N]."""
    function = module_or_none("submodlib").FacilityLocationFunction(
        n=len(similarities), mode="dense", sijs=similarities, separate_rep=False
    )
    options = {"stopIfZeroGain": False, "stopIfNegativeGain": False, "verbose": False, "show_progress": False}
    return [int(i) for i, _ in function.maximize(budget=k, optimizer="LazyGreedy", **options)]


def torch_coverage(similarities: Tensor, k: int) -> list[int]:
    """The textbook's greedy over a matrix of all pairs [N, N]: all gains anew for each pick."""
    covered, picks = torch.zeros(len(similarities), device=similarities.device), []
    for _ in range(k):
        gains = torch.cat([(part - covered).clamp_min_(0).sum(1) for part in similarities.split(512)])
        gains[picks] = -1
        picks.append(int(gains.argmax()))
        covered = torch.maximum(covered, similarities[picks[-1]])
    return picks
