"""knn: exact beside FAISS, torch.cdist and scikit-learn; approximate beside FAISS's index of the same recall."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from harness import Benchmark, faiss_or_none, pool
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from autoal import ops

QUERIES = 2000
SAMPLE = 500  # of the rows, for checks and for the recall of the peers
TRAIN_PER_LIST = 64  # as many as ours


def torch_cdist(q: Tensor, x: Tensor, k: int) -> Tensor:
    """All distances of 500 queries at a time."""
    return torch.cat([torch.cdist(part, x).topk(k, largest=False).indices for part in q.split(500)])


def faiss_inverted_file(faiss: Any, x: np.ndarray) -> Any:
    """FAISS's index of as many lists as ours, trained and filled."""
    lists = int(len(x) ** 0.5)
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(x.shape[1]), x.shape[1], lists)
    index.cp.max_points_per_centroid = TRAIN_PER_LIST
    index.train(x)
    index.add(x)
    return index


def faiss_at(faiss: Any, x: np.ndarray, k: int, nprobe: int) -> np.ndarray:
    """Builds the index and searches it for all rows."""
    index = faiss_inverted_file(faiss, x)
    index.nprobe = nprobe
    return np.asarray(index.search(x, k)[1])


def reaching(faiss: Any, x: np.ndarray, k: int, truth: np.ndarray, recall: float) -> tuple[int, float]:
    """The smallest nprobe of FAISS's index, in powers of two, with this recall on the first rows; and its recall."""
    index, index_recall = faiss_inverted_file(faiss, x), 0.0
    index.nprobe = 1
    while True:
        index_recall = shared(index.search(x[: len(truth)], k)[1], truth)
        if index_recall >= recall or index.nprobe >= index.nlist:
            return index.nprobe, index_recall
        index.nprobe *= 2


def shared(found: np.ndarray, truth: np.ndarray) -> float:
    """Share of the true neighbors [Q, k] that were found."""
    return float(np.mean([np.isin(a, b).mean() for a, b in zip(truth, found, strict=True)]))


def exact(bench: Benchmark, name: str, x: Tensor, k: int) -> None:
    """Some queries against the pool."""
    q = x[:QUERIES]

    def check() -> None:
        ours = ops.knn(q[:200], x, k, backend="exact").indices
        expected = torch_cdist(q[:200].double(), x.double(), k)
        assert (ours == expected).float().mean() > 0.999

    peers: dict[str, Callable[[], Any]] = {"torch cdist": lambda: torch_cdist(q, x, k)}
    if bench.device == "cpu":
        index = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(x.numpy())
        peers["sklearn brute"] = lambda: index.kneighbors(q.numpy())
        if (faiss := faiss_or_none()) is not None:
            peers["autoal over faiss"] = lambda: ops.knn(q, x, k, backend="faiss")
            peers["faiss, directly"] = lambda: faiss.knn(q.numpy(), x.numpy(), k)
    bench.case(
        f"{name} {len(q)} of {len(x):,} x {x.shape[1]}, k={k}",
        lambda: ops.knn(q, x, k, backend="exact"),
        peers,
        check=check,
        n_bytes=4 * x.numel(),
    )


def approximate(bench: Benchmark, name: str, x: Tensor, k: int, target: float) -> None:
    """All rows against all; the recall of each stands in its name."""
    found = ops.knn(x, x, k, recall=target)
    truth = ops.knn(x[:SAMPLE], x, k, backend="exact").indices.cpu().numpy()

    def check() -> None:
        true = shared(found.indices[:SAMPLE].cpu().numpy(), truth)
        assert abs(true - found.recall) < 0.03, f"tells {found.recall:.3f}, has {true:.3f}"
        assert found.recall > target - 0.03

    peers: dict[str, Callable[[], Any]] = {"all pairs": lambda: ops.knn(x, x, k)}
    if bench.device == "cpu" and (faiss := faiss_or_none()) is not None:
        nprobe, recall = reaching(faiss, x.numpy(), k, truth, found.recall)
        peers[f"faiss IVF, {recall:.3f}"] = lambda: faiss_at(faiss, x.numpy(), k, nprobe)
    bench.case(
        f"{name} all of {len(x):,} x {x.shape[1]}, recall {found.recall:.3f}",
        lambda: ops.knn(x, x, k, recall=target),
        peers,
        check=check,
        n_bytes=4 * x.numel(),
        repeats=0,
    )


def main() -> None:
    """Two pools that are hard for exact search and two that are not alike for an inverted file."""
    bench = Benchmark("knn")
    n, d, k = (10_000, 64, 20) if bench.quick else (100_000, 128, 20)
    for name in ("gaussian", "embedding"):
        exact(bench, name, pool(name, n, d).to(bench.device), k)
    n, d, k = (25_000, 64, 11) if bench.quick else (100_000, 256, 11)
    for name in ("embedding", "mixture"):
        for target in (0.9, 0.99):
            approximate(bench, name, pool(name, n, d).to(bench.device), k, target)
    bench.finish()


if __name__ == "__main__":
    main()
