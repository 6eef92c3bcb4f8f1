"""The graph of nearest neighbors in the pool, on which FitNet's predictions are compared."""

from __future__ import annotations

import numpy as np

from autoal.ops.knn import search
from autoal.ops.rows import Rows

NEIGHBORS = 10
EXACT_UP_TO = 20_000  # points
PROBES = 5  # of about sqrt(N) lists: recall 0.98 on 60,000 x 784 pixels


def neighbor_graph(x: Rows) -> np.ndarray:
    """Indices [N, min(10, N - 1)] of the other points of the highest cosine, nearest first; never the point.

    Exact up to 20,000 points, and on CUDA (quadratic in N, in bounded memory); beyond, an inverted file.
    """
    n = len(x)
    k = min(NEIGHBORS, n - 1)
    inverted_file = n > EXACT_UP_TO and x.device.type == "cpu"
    _, found = search(x, x, k + 1, "cosine", "auto", nprobe=PROBES if inverted_file else None)
    neighbors = found.cpu().numpy()
    own = neighbors == np.arange(n)[:, None]
    own[~own.any(axis=1), -1] = True  # a point with many copies need not find itself: it drops its last neighbor
    return neighbors[~own].reshape(n, k)
