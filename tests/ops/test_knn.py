"""knn: both backends against brute force in float64."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from autoal import checks, ops

NEAREST = sys.modules["autoal.ops.nearest"]
KNN_MODULE = sys.modules["autoal.ops.knn"]
METRICS = ["l2", "cosine", "ip"]


def brute_force(q, x, k, metric):
    q, x = np.asarray(q, np.float64), np.asarray(x, np.float64)
    if metric == "l2":
        far = np.sqrt(np.square(q[:, None] - x[None]).sum(2))
    elif metric == "ip":
        far = -(q @ x.T)
    else:
        norms = [np.maximum(np.linalg.norm(y, axis=1, keepdims=True), 1e-12) for y in (q, x)]
        far = 1 - (q / norms[0]) @ (x / norms[1]).T
    order = far.argsort(axis=1, kind="stable")[:, :k]
    return np.abs(np.take_along_axis(far, order, 1)) if metric != "ip" else -np.take_along_axis(far, order, 1), order


def cloud(n, d, seed=0, offset=0.0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype("f4") + np.float32(offset)


@pytest.fixture(params=["faiss", "exact"])
def backend(request):
    if request.param == "faiss":
        pytest.importorskip("faiss")
    return request.param


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("q", "n", "d", "k"), [(1, 1, 1, 1), (3, 7, 2, 7), (20, 300, 17, 9), (5, 1000, 64, 33)])
def test_brute_force(q, n, d, k, metric, backend):
    queries, database = cloud(q, d, 1), cloud(n, d)
    distances, indices = ops.knn(queries, database, k, metric=metric, backend=backend)
    expected, order = brute_force(queries, database, k, metric)
    assert isinstance(indices, np.ndarray) and indices.dtype == np.int64 and distances.dtype == np.float32
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_allclose(distances, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_tiles_do_not_show(metric, device, dtype, monkeypatch):
    queries, database = torch.from_numpy(cloud(40, 6, 1)).to(dtype), torch.from_numpy(cloud(333, 6)).to(dtype)
    set_tiles(monkeypatch, 16, 50)
    distances, indices = ops.knn(queries.to(device), database.to(device), 60, metric=metric, backend="exact")
    expected, order = brute_force(queries.double(), database.double(), 60, metric)
    assert indices.device.type == device
    np.testing.assert_allclose(distances.cpu(), expected, rtol=1e-4, atol=1e-6)
    agree = (indices.cpu().numpy() == order).mean()
    assert agree == 1 if dtype == torch.float32 else agree > 0.95, "halves round to ties"


def test_ties_go_to_the_lowest_index(lattice, device, monkeypatch):
    monkeypatch.setattr(NEAREST, "TILE_ROWS", 64)
    x = lattice(500, 2, high=2) + 7
    for metric in ("l2", "ip"):
        _, indices = ops.knn(x.to(device), x.to(device), 40, metric=metric, backend="exact")
        np.testing.assert_array_equal(indices.cpu(), brute_force(x, x, 40, metric)[1])


def test_copies_are_at_distance_zero(backend):
    x = cloud(200, 32, offset=100)
    distances, indices = ops.knn(x, x, 2, backend=backend)
    np.testing.assert_array_equal(indices[:, 0], np.arange(200))
    assert (distances[:, 0] == 0).all()
    np.testing.assert_allclose(distances[:, 1], brute_force(x, x, 2, "l2")[0][:, 1], rtol=1e-5)


def test_a_row_of_zeros_is_at_cosine_distance_one(backend):
    x = cloud(5, 3)
    x[2] = 0
    distances, _ = ops.knn(np.zeros((1, 3), "f4"), x, 5, metric="cosine", backend=backend)
    assert (distances == 1).all()
    distances, indices = ops.knn(x[:1], x, 5, metric="cosine", backend=backend)
    assert distances[0, indices[0] == 2] == 1


def test_empty_answers(backend):
    x = cloud(5, 3)
    assert ops.knn(x[:0], x, 2, backend=backend).indices.shape == (0, 2)
    assert ops.knn(x, x, 0, backend=backend).distances.shape == (5, 0)


def test_probing_all_lists_is_exact_and_few_lists_nearly():
    pytest.importorskip("faiss")
    x = cloud(3000, 8)
    expected = ops.knn(x[:100], x, 10, backend="exact")
    everything = ops.knn(x[:100], x, 10, nprobe=10_000)
    np.testing.assert_array_equal(everything.indices, expected.indices)
    few = ops.knn(x[:100], x, 10, nprobe=12)
    recall = np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(few.indices, expected.indices, strict=True)])
    assert 0.7 < recall < 1
    wide = ops.knn(x[:5], x, 2000, nprobe=1)
    assert (wide.indices >= 0).all() and all(len(set(row)) == 2000 for row in wide.indices.tolist())


def test_which_one_ran(monkeypatch):
    ran = []
    for name in ("_exact", "_faiss"):
        original = getattr(KNN_MODULE, name)
        monkeypatch.setattr(KNN_MODULE, name, lambda *a, f=original, n=name: ran.append(n) or f(*a))
    x = cloud(5, 3)
    ops.knn(x, x, 1)
    ops.knn(x, x, 1, backend="exact")
    monkeypatch.setitem(sys.modules, "faiss", None)  # as if it were not installed
    ops.knn(x, x, 1)
    assert ran[1:] == ["_exact", "_exact"]
    assert not ops.backends()["faiss"]["live"] and "pip install 'autoal[cpu]'" in ops.backends()["faiss"]["reason"]
    for options in ({"backend": "faiss"}, {"nprobe": 3}):
        with pytest.raises(checks.MissingExtraError, match=r"faiss.*pip install 'autoal\[cpu\]'"):
            ops.knn(x, x, 1, **options)


def test_auto_takes_faiss_where_it_is(monkeypatch):
    pytest.importorskip("faiss")
    monkeypatch.setattr(KNN_MODULE, "_exact", None)  # would fail if called
    assert ops.knn(cloud(5, 3), cloud(5, 3), 1).indices[:, 0].tolist() == list(range(5))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"k": 6}, ValueError, "k must be between 0 and 5, the rows of the database; got 6"),
        ({"metric": "l1"}, ValueError, "unknown metric 'l1'"),
        ({"backend": "hnsw"}, ValueError, "unknown backend 'hnsw'"),
        ({"backend": "exact", "nprobe": 3}, ValueError, "nprobe needs FAISS"),
        ({"nprobe": 0}, ValueError, "nprobe must be at least 1"),
        ({"queries": cloud(2, 4)}, ValueError, "rows of one length, got 4 and 3"),
        ({"queries": np.full((2, 3), np.nan, "f4")}, ValueError, "queries holds NaN or Inf in rows 0, 1"),
        ({"database": np.zeros(3, "f4")}, ValueError, r"database must be \[N, D\] float"),
        ({"database": np.zeros((5, 3), int)}, TypeError, "database must be"),
    ],
)
def test_errors(options, error, message):
    arguments = {"queries": cloud(2, 3), "database": cloud(5, 3), "k": 1, **options}
    with pytest.raises(error, match=message):
        ops.knn(arguments.pop("queries"), arguments.pop("database"), arguments.pop("k"), **arguments)
