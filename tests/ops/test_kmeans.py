"""kmeans: against Lloyd's iteration in float64, with and without FAISS, and on what leaves clusters empty."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import cluster

from autoal import checks, ops

KMEANS_MODULE = sys.modules["autoal.ops.kmeans"]


@pytest.fixture(params=["faiss", "exact"])
def backend(request):
    if request.param == "faiss":
        pytest.importorskip("faiss")
    return request.param


def blobs(sizes, d=5, seed=0, spread=1.0):
    """Well separated clusters, shuffled, and the blob of each row."""
    rng = np.random.default_rng(seed)
    centers = 50 * rng.standard_normal((len(sizes), d))
    blob = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return (centers[blob] + spread * rng.standard_normal((len(blob), d))).astype("f4"), blob


def squares(x, centroids):
    return np.square(x[:, None].astype("f8") - centroids[None].astype("f8")).sum(2)


def assert_consistent(found, x, taking_part=None):
    """Assignments, distances and inertia are those of the centroids."""
    part = np.arange(len(x)) if taking_part is None else taking_part
    expected = squares(x[part], found.centroids)
    own = np.take_along_axis(expected, found.assignments[part, None], 1)[:, 0]
    np.testing.assert_allclose(own, expected.min(1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.distances[part], np.sqrt(own), rtol=1e-5, atol=1e-6)
    assert found.inertia == pytest.approx(own.sum(), rel=1e-5)


def test_separated_blobs_are_found(backend):
    x, blob = blobs([40, 80, 3, 200, 11])
    found = ops.kmeans(x, 5, seed=1, backend=backend)
    assert_consistent(found, x)
    for c in range(5):
        own = blob[found.assignments == c]
        assert len(set(own)) == 1 and len(own) == (blob == own[0]).sum()
        np.testing.assert_allclose(found.centroids[c], x[found.assignments == c].mean(0), rtol=1e-5)
    assert (found.backend, found.trained_on) == ({"exact": "torch"}.get(backend, backend), len(x))
    assert found.centroids.dtype == np.float32 and found.assignments.dtype == np.int64


@pytest.mark.parametrize("iterations", [0, 1, 4])
def test_each_iteration_is_lloyds(iterations, backend):
    x = np.random.default_rng(0).standard_normal((500, 7)).astype("f4")
    centroids = x[ops.kmeanspp(x, 12, seed=3)].astype("f8")
    for _ in range(iterations):
        nearest = squares(x, centroids).argmin(1)
        centroids = np.stack([x[nearest == c].astype("f8").mean(0) for c in range(12)])
    found = ops.kmeans(x, 12, seed=3, iterations=iterations, tolerance=0, backend=backend)
    np.testing.assert_allclose(found.centroids, centroids, rtol=1e-4, atol=1e-5)
    assert_consistent(found, x)
    assert found.iterations == iterations


def test_tolerance_stops_before_iterations_do():
    x = np.random.default_rng(0).standard_normal((2000, 7)).astype("f4")
    loose, tight = (ops.kmeans(x, 20, tolerance=tolerance, iterations=300) for tolerance in (0.1, 0))
    assert loose.iterations < tight.iterations < 300
    assert tight.inertia < loose.inertia
    again = ops.kmeans(x, 20, tolerance=0, iterations=tight.iterations + 5)
    assert again.iterations == tight.iterations, "nothing moves any more"


def test_as_good_as_scikit_learn():
    x = np.random.default_rng(0).standard_normal((3000, 8)).astype("f4")
    ours = np.mean([ops.kmeans(x, 60, seed=seed).inertia for seed in range(5)])
    theirs = np.mean([cluster.KMeans(60, n_init=1, random_state=seed).fit(x).inertia_ for seed in range(5)])
    assert ours < 1.02 * theirs


def test_faiss_absent_the_same_clusters(monkeypatch, lattice):
    pytest.importorskip("faiss")
    x = lattice(400, 3, high=3).numpy() + 100 * np.random.default_rng(0).integers(0, 3, (400, 3)).astype("f4")
    theirs = ops.kmeans(x, 27, seed=5)
    monkeypatch.setitem(sys.modules, "faiss", None)  # as if it were not installed
    ours = ops.kmeans(x, 27, seed=5)
    assert (theirs.backend, ours.backend) == ("faiss", "torch")
    for a, b in zip(theirs[:-1], ours[:-1], strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(checks.MissingExtraError, match="faiss"):
        ops.kmeans(x, 27, backend="faiss")


def test_a_seed_decides(backend):
    x = np.random.default_rng(0).standard_normal((1000, 4)).astype("f4")
    one, two, other = (ops.kmeans(x, 10, seed=seed, max_points_per_centroid=20, backend=backend) for seed in (7, 7, 8))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (one.assignments != other.assignments).any()


def test_large_pools_are_trained_on_some_rows_and_assigned_entirely(backend):
    x, blob = blobs([300, 900, 60, 2000])
    found = ops.kmeans(x, 4, max_points_per_centroid=50, backend=backend)
    assert found.trained_on == 200 and (found.assignments >= 0).all()
    assert_consistent(found, x)
    assert len(np.unique(np.stack([blob, found.assignments]), axis=1).T) == 4, "still the blobs"


def test_rows_that_take_no_part(backend):
    x, _ = blobs([40, 80, 200])
    x[5], x[300, 2] = np.nan, np.inf
    excluded = [0, 7, 319]
    with pytest.raises(ValueError, match="points holds NaN or Inf in rows 5, 300"):
        ops.kmeans(x, 3, excluded=excluded)
    found = ops.kmeans(x, 3, excluded=excluded, on_nonfinite="drop", backend=backend)
    out = [0, 5, 7, 300, 319]
    assert (found.assignments[out] == -1).all() and np.isinf(found.distances[out]).all()
    kept = np.delete(np.arange(len(x)), out)
    alone = ops.kmeans(x[kept], 3, backend=backend)
    np.testing.assert_array_equal(found.centroids, alone.centroids)
    np.testing.assert_array_equal(found.assignments[kept], alone.assignments)
    assert_consistent(found, x, kept)
    assert found.trained_on == len(kept)
    with pytest.raises(ValueError, match="n_clusters must be between 1 and 315, the rows that take part; got 316"):
        ops.kmeans(x, 316, excluded=excluded, on_nonfinite="drop")


def test_an_empty_cluster_moves_to_the_farthest_row(monkeypatch):
    """Two seeds that are copies, and none in the last blob."""
    x, blob = blobs([50, 50, 50, 50, 50])
    first = [np.flatnonzero(blob == b)[0] for b in (0, 1, 2, 3)]
    x = np.concatenate([x, x[first[:1]]])
    monkeypatch.setattr(KMEANS_MODULE, "_seeds", lambda *a: torch.tensor([*first, len(x) - 1]))
    found = ops.kmeans(x, 5)
    assert len(np.unique(np.stack([blob, found.assignments[:-1]]), axis=1).T) == 5
    assert_consistent(found, x)


def test_fewer_different_rows_than_clusters(backend):
    x = np.repeat(np.arange(12, dtype="f4").reshape(4, 3), 5, axis=0)
    with pytest.warns(ops.DuplicatesWarning, match="3 of 7 clusters are empty: points hold fewer different rows"):
        found = ops.kmeans(x, 7, backend=backend)
    assert found.inertia == 0 and (found.distances == 0).all() and len(set(found.assignments)) == 4
    np.testing.assert_array_equal(found.centroids[found.assignments], x)


def test_as_many_clusters_as_rows_and_one(backend):
    x = np.random.default_rng(0).standard_normal((30, 4)).astype("f4")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        own = ops.kmeans(x, 30, backend=backend)
        assert own.inertia == 0 and sorted(own.assignments) == list(range(30))
        single = ops.kmeans(x, 1, backend=backend)
        np.testing.assert_allclose(single.centroids[0], x.mean(0), rtol=1e-4, atol=1e-6)
        alone = ops.kmeans(x[:1], 1, backend=backend)
        assert alone.inertia == 0 and alone.assignments.tolist() == [0]


def test_far_from_the_origin(backend):
    x, _ = blobs([40, 80, 200], spread=0.1)
    near = ops.kmeans(x, 3, backend=backend)
    far = ops.kmeans(x + 4096, 3, backend=backend)
    np.testing.assert_array_equal(far.assignments, near.assignments)


def test_every_row_is_at_its_nearest_centroid(backend):
    """Clusters of spread 1e-3 at a distance of 8, each split into many."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((20, 64))
    centers *= 8 / np.linalg.norm(centers, axis=1, keepdims=True)
    x = (centers[rng.integers(0, 20, 4000)] + 1e-3 / 8 * rng.standard_normal((4000, 64))).astype("f4")
    for cap in (256, 4):  # trained on all, or on some and then assigned
        found = ops.kmeans(x, 500, backend=backend, iterations=2, max_points_per_centroid=cap)
        expected = torch.cat([(p[:, None] - found.centroids).square().sum(2) for p in torch.from_numpy(x).split(50)])
        own = expected.gather(1, torch.from_numpy(found.assignments)[:, None])[:, 0]
        assert (own <= expected.min(1).values * (1 + 1e-5)).all()


def test_means_of_many_rows():
    x = (1000 + np.random.default_rng(0).standard_normal((400_000, 2))).astype("f4")
    found = ops.kmeans(x, 1, max_points_per_centroid=len(x), iterations=1)
    np.testing.assert_allclose(found.centroids[0], x.mean(0, dtype="f8"), atol=1e-3)


def test_answers_in_kind(device, dtype):
    x = torch.from_numpy(blobs([40, 80, 200])[0]).to(dtype).to(device)
    found = ops.kmeans(x, 3)
    assert {a.device.type for a in found[:3]} == {device} and found.centroids.dtype == torch.float32
    wide = ops.kmeans(x.float().cpu().numpy(), 3, backend="exact")
    np.testing.assert_array_equal(found.assignments.cpu().numpy(), wide.assignments)


@settings(max_examples=30)
@given(
    n=st.integers(1, 60), d=st.integers(1, 4), share=st.floats(0, 1), high=st.integers(0, 3), seed=st.integers(0, 99)
)
def test_properties(n, d, share, high, seed):
    x = np.random.default_rng(seed).integers(-high, high + 1, (n, d)).astype("f4")
    k = max(1, round(share * n))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ops.DuplicatesWarning)
        few, more = (ops.kmeans(x, k, iterations=i, tolerance=0, seed=seed) for i in (1, 20))
    assert_consistent(more, x)
    assert more.inertia <= few.inertia * (1 + 1e-6) + 1e-6
    assert len(np.unique(more.assignments)) == min(k, len(np.unique(x, axis=0))), "no cluster is wasted"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_clusters": 0}, ValueError, "n_clusters must be between 1 and 5"),
        ({"n_clusters": 6}, ValueError, "n_clusters must be between 1 and 5, the rows that take part; got 6"),
        ({"points": np.zeros((5, 3), int)}, TypeError, "points must be"),
        ({"points": np.zeros(5, "f4")}, ValueError, r"points must be \[N, D\] float"),
        ({"excluded": [9]}, ValueError, r"excluded must lie in \[0, 5\)"),
        ({"backend": "cuda"}, ValueError, "unknown backend 'cuda'"),
        ({"on_nonfinite": "keep"}, ValueError, "unknown on_nonfinite"),
        ({"iterations": -1}, ValueError, "iterations must be at least 0"),
        ({"max_points_per_centroid": 0}, ValueError, "max_points_per_centroid must be at least 1"),
        ({"tolerance": -1.0}, ValueError, "tolerance must be at least 0, got -1.0"),
        ({"tolerance": "a"}, TypeError, "tolerance must be a number of at least 0, got 'a'"),
        ({"seed": -1}, ValueError, "seed must be between"),
    ],
)
def test_errors(options, error, message):
    arguments = {"points": np.ones((5, 3), "f4"), "n_clusters": 2, **options}
    with pytest.raises(error, match=message):
        ops.kmeans(arguments.pop("points"), arguments.pop("n_clusters"), **arguments)
