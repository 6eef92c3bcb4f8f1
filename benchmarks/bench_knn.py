"""knn's exact search beside FAISS, torch.cdist and scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from harness import Benchmark, faiss_or_none, pool
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from autoal import ops

QUERIES = 2000


def torch_cdist(q: Tensor, x: Tensor, k: int) -> Tensor:
    """All distances of 500 queries at a time."""
    return torch.cat([torch.cdist(part, x).topk(k, largest=False).indices for part in q.split(500)])


def main() -> None:
    """Queries against a pool, k = 20."""
    bench = Benchmark("knn")
    n, d, k = (10_000, 64, 20) if bench.quick else (100_000, 128, 20)
    for name in ("gaussian", "embedding"):
        x = pool(name, n, d).to(bench.device)
        q = x[:QUERIES]

        def check(x: Tensor = x, q: Tensor = q) -> None:
            ours = ops.knn(q[:200], x, k, backend="exact").indices
            expected = torch_cdist(q[:200].double(), x.double(), k)
            assert (ours == expected).float().mean() > 0.999

        peers: dict[str, Callable[[], Any]] = {"torch cdist": lambda x=x, q=q: torch_cdist(q, x, k)}
        if bench.device == "cpu":
            index = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x.numpy())
            peers["sklearn brute"] = lambda q=q, index=index: index.kneighbors(q.numpy())
            if faiss_or_none() is not None:
                peers["autoal over faiss"] = lambda x=x, q=q: ops.knn(q, x, k, backend="faiss")
                peers["autoal, nprobe=16"] = lambda x=x, q=q: ops.knn(q, x, k, nprobe=16)
        bench.case(
            f"{name} {QUERIES} of {n:,} x {d}, k={k}",
            lambda x=x, q=q: ops.knn(q, x, k, backend="exact"),
            peers,
            check=check,
            n_bytes=4 * x.numel(),
        )
    bench.finish()


if __name__ == "__main__":
    main()
