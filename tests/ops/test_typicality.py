"""typicality: against the definition in float64, and the recall that approximate answers tell."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from autoal import ops

KNN_MODULE = sys.modules["autoal.ops.knn"]


def definition(x, k, metric="euclidean"):
    far = cdist(x.astype("f8"), x.astype("f8"), metric)
    np.fill_diagonal(far, -1)
    return 1 / np.sort(far, axis=1)[:, 1 : k + 1].mean(1)


def cloud(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype("f4")


@pytest.fixture(params=["faiss", "exact"])
def backend(request):
    if request.param == "faiss":
        pytest.importorskip("faiss")
    return request.param


@pytest.mark.parametrize(("n", "d", "k"), [(2, 1, 1), (21, 3, 20), (400, 17, 20), (300, 5, 1)])
def test_definition(n, d, k, backend):
    x = cloud(n, d)
    scores, recall = ops.typicality(x, k, backend=backend)
    assert recall == 1 and scores.dtype == np.float32
    np.testing.assert_allclose(scores, definition(x, k), rtol=1e-4)
    cosine = ops.typicality(x, k, metric="cosine", backend=backend).scores
    if d > 1:
        np.testing.assert_allclose(cosine, definition(x, k, "cosine"), rtol=1e-3)


def test_denser_is_higher():
    x = np.concatenate([cloud(50, 3), 10 * cloud(50, 3, 1) + 100])
    scores = ops.typicality(x, 10).scores
    assert scores[:50].min() > scores[50:].max()


def test_copies(backend):
    x = np.concatenate([np.ones((4, 3), "f4"), cloud(30, 3) + 50])
    scores = ops.typicality(x, 3, backend=backend).scores
    assert np.isposinf(scores[:4]).all() and np.isfinite(scores[4:]).all(), "three others at distance 0"
    np.testing.assert_allclose(ops.typicality(x, 4, backend=backend).scores, definition(x, 4), rtol=1e-4)


def test_a_row_is_dropped_by_its_number(backend, monkeypatch):
    """A search that finds another row at less than the distance to the row itself, as rounding may."""
    monkeypatch.setattr(sys.modules["autoal.ops.typicality"], "search", lambda *_: found)
    found = ops.KNN(
        torch.tensor([[0.0, 2.0, 3.0], [0.5, 1.0, 4.0], [0.0, 0.0, 0.0]]),
        torch.tensor([[0, 1, 2], [0, 1, 2], [0, 1, 1]]),
        1.0,
        None,
        "torch",
    )
    scores = ops.typicality(cloud(3, 2), 2, backend=backend).scores
    np.testing.assert_allclose(scores, [1 / 2.5, 1 / 2.25, np.inf])


def test_rows_of_zeros_by_cosine(backend):
    x = np.concatenate([np.zeros((3, 4), "f4"), cloud(20, 4)])
    assert (ops.typicality(x, 5, metric="cosine", backend=backend).scores[:3] == 1).all(), "at 1 from all"


def test_rows_that_are_dropped(backend):
    x = cloud(40, 4)
    x[3], x[17, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match="points holds NaN or Inf in rows 3, 17"):
        ops.typicality(x, 5)
    scores = ops.typicality(x, 5, on_nonfinite="drop", backend=backend).scores
    kept = np.delete(np.arange(40), [3, 17])
    np.testing.assert_allclose(scores[kept], definition(x[kept], 5), rtol=1e-4)
    assert np.isneginf(scores[[3, 17]]).all()
    with pytest.raises(ValueError, match="k must be between 1 and 37, the other rows of points; got 38"):
        ops.typicality(x, 38, on_nonfinite="drop")


def test_recall_counts_others_alone():
    x = cloud(3000, 8)
    exact = ops.knn(x, x, 11, backend="exact").indices[:, 1:]
    for nprobe in (1, 6):
        scores, recall = ops.typicality(x, 10, nprobe=nprobe)
        found = ops.knn(x, x, 11, nprobe=nprobe).indices[:, 1:]
        true = np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(found, exact, strict=True)])
        assert abs(recall - true) < 0.05
        assert (scores <= definition(x, 10) * (1 + 1e-5)).all(), "never too high"
    assert ops.typicality(x, 10, nprobe=1000).recall == 1


def test_a_target(monkeypatch):
    monkeypatch.setattr(KNN_MODULE, "WORTH_ROWS", 1000)
    monkeypatch.setattr(KNN_MODULE, "WORTH_QUERIES", 1000)
    monkeypatch.setattr(KNN_MODULE, "WORTH_SHARE", 1)
    low, high = (ops.typicality(cloud(3000, 8), 10, recall=target).recall for target in (0.5, 0.95))
    assert 0.45 < low < high and high > 0.93


def test_answers_in_kind(device, dtype):
    x = torch.from_numpy(cloud(100, 6)).to(dtype).to(device)
    scores = ops.typicality(x, 5).scores
    assert scores.device.type == device and scores.dtype == torch.float32
    np.testing.assert_allclose(scores.cpu(), definition(x.float().cpu().numpy(), 5), rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"k": 0}, ValueError, "k must be between 1 and 4"),
        ({"k": 5}, ValueError, "k must be between 1 and 4, the other rows of points; got 5"),
        ({"metric": "ip"}, ValueError, "unknown metric 'ip'"),
        ({"backend": "cuda"}, ValueError, "unknown backend"),
        ({"points": np.zeros((5, 3), int)}, TypeError, "points must be"),
        ({"points": cloud(1, 3), "k": 1}, ValueError, "points must hold at least two rows that take part, got 1"),
    ],
)
def test_errors(options, error, message):
    arguments = {"points": cloud(5, 3), "k": 2, **options}
    with pytest.raises(error, match=message):
        ops.typicality(arguments.pop("points"), arguments.pop("k"), **arguments)
