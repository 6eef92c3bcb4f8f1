"""kmeanspp beside our plain passes, FAISS's k-means++ initialisation, scikit-learn's without greedy trials, torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from harness import Benchmark, PerPick, faiss_or_none, pools, potential
from sklearn.cluster import kmeans_plusplus
from torch import Tensor

from autoal import ops
from autoal.ops import native


def torch_loop(x: Tensor, k: int, seed: int = 0) -> Tensor:
    """One pass of direct differences and one draw per pick."""
    generator = torch.Generator(x.device).manual_seed(seed)
    first = int(torch.randint(len(x), (), device=x.device, generator=generator))
    weights, picks = torch.full((len(x),), torch.inf, device=x.device), [first]
    for _ in range(k - 1):
        weights = torch.minimum(weights, (x - x[picks[-1]]).square().sum(1))
        draw = torch.rand((), dtype=torch.float64, device=x.device, generator=generator)
        cumulative = weights.double().cumsum(0)
        picks.append(int(torch.searchsorted(cumulative, draw * cumulative[-1])))
    return torch.tensor(picks, device=x.device)


def faiss_initialisation(faiss: Any, x: np.ndarray, k: int) -> np.ndarray:
    """Centroids [k, D] of FAISS's k-means++."""
    centroids = np.empty((k, x.shape[1]), np.float32)
    start = faiss.ClusteringInitialization(x.shape[1], k)
    start.method = faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS
    start.seed = 0
    start.init_centroids(len(x), faiss.swig_ptr(x), faiss.swig_ptr(centroids))
    return centroids


def peers_of(y: Tensor, k: int) -> dict[str, Callable[[], Any] | PerPick]:
    """Who else draws k of y [N, D]."""
    peers: dict[str, Callable[[], Any] | PerPick] = {"torch loop": PerPick(lambda n: torch_loop(y, n), k)}
    if y.is_cuda:
        return peers
    x = y.numpy()
    peers["our plain passes"] = PerPick(lambda n: native.kmeanspp(y, 0, n, 0, native.PLAIN), k)
    peers["sklearn, 1 trial"] = PerPick(lambda n: kmeans_plusplus(x, n, random_state=0, n_local_trials=1), k)
    if (faiss := faiss_or_none()) is not None and hasattr(faiss, "ClusteringInitialization"):
        peers["faiss k-means++"] = PerPick(lambda n: faiss_initialisation(faiss, x, n), k)
    return peers


def main() -> None:
    """The data sets of the harness; ours makes all picks, the peers some."""
    bench = Benchmark("kmeanspp")
    n, d, k = (16_384, 128, 200) if bench.quick else (131_072, 512, 2000)
    for name, x in pools(n, d, quick=bench.quick):
        y = x.to(bench.device)

        def check(y: Tensor = y) -> None:
            small = y[:4096]
            ours = [potential(small, ops.kmeanspp(small, 50, seed=seed)) for seed in range(10)]
            theirs = [potential(small, torch_loop(small, 50, seed)) for seed in range(10)]
            assert 0.9 < np.mean(ours) / np.mean(theirs) < 1.1, "not the potential of D^2 sampling"

        bench.case(
            f"{name} {len(x):,} x {x.shape[1]}, k={k}",
            lambda y=y: ops.kmeanspp(y, k),
            peers_of(y, k),
            check=check,
            n_bytes=4 * y.numel(),
            pairs=len(y) * k,
            flops_per_pair=2 * y.shape[1],
            repeats=0,
        )
    bench.finish()


if __name__ == "__main__":
    main()
