"""kmeans beside FAISS's and scikit-learn's, each with its own seeds; the inertia is compared first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from harness import Benchmark, faiss_or_none, pool
from sklearn.cluster import KMeans, MiniBatchKMeans
from torch import Tensor

from autoal import ops

PER_CENTROID = 256  # rows that ours and FAISS's are trained on
FAISS_ITERATIONS = 20
WORSE = 1.02  # than FAISS's or scikit-learn's inertia: no answer of ours


def inertia(x: Tensor, centroids: Any) -> float:
    """Sum of squared distances of the rows of x [N, D] to the nearest centroid."""
    centers = torch.as_tensor(np.asarray(centroids, dtype=np.float32), device=x.device)
    return float(torch.stack([torch.cdist(part, centers).min(1).values.square().sum() for part in x.split(8192)]).sum())


def by_faiss(faiss: Any, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Centroids and assignments of FAISS's class."""
    found = faiss.Kmeans(x.shape[1], k, niter=FAISS_ITERATIONS, seed=0, max_points_per_centroid=PER_CENTROID)
    found.train(x)
    return found.centroids, found.index.search(x, 1)[1]


def peers_of(y: Tensor, k: int) -> dict[str, Callable[[], Any]]:
    """Who else clusters y [N, D]; each returns its centroids first."""
    if y.is_cuda:
        return {}
    x = y.numpy()
    peers: dict[str, Callable[[], Any]] = {}
    if (faiss := faiss_or_none()) is not None:
        peers["faiss.Kmeans"] = lambda: by_faiss(faiss, x, k)

    def sklearn_of(kind: Any) -> Callable[[], Any]:
        return lambda: (kind(k, n_init=1, random_state=0, max_iter=FAISS_ITERATIONS).fit(x).cluster_centers_,)

    peers["sklearn KMeans"] = sklearn_of(KMeans)
    peers["sklearn MiniBatch"] = sklearn_of(MiniBatchKMeans)
    return peers


def main() -> None:
    """Pools with clusters and without; the inertia over ours stands in the name of each peer."""
    bench = Benchmark("kmeans")
    n, d, k = (20_000, 32, 100) if bench.quick else (100_000, 256, 1000)
    for name in ("gaussian", "embedding", "mixture"):
        y = pool(name, n, d).to(bench.device)
        ours = inertia(y, ops.kmeans(y, k).centroids.cpu())
        peers = {}
        for who, call in peers_of(y, k).items():
            over = inertia(y, call()[0]) / ours
            assert over > 1 / WORSE, f"{who} has {over:.3f} of our inertia"
            peers[f"{who}, {over:.3f}"] = call

        def check(y: Tensor = y, ours: float = ours) -> None:
            found = ops.kmeans(y, k)
            assert abs(found.inertia / ours - 1) < 1e-3, "inertia is not that of the centroids"

        bench.case(
            f"{name} {n:,} x {d}, k={k}",
            lambda y=y: ops.kmeans(y, k),
            peers,
            check=check,
            n_bytes=4 * y.numel(),
            repeats=0,
        )
    bench.finish()


if __name__ == "__main__":
    main()
