"""Each strategy against its paper's definition, computed independently in float64."""

import sys

import numpy as np
import pytest
import torch
from scipy.special import softmax, xlogy
from scipy.stats import entropy as scipy_entropy

import autoal
from autoal import Outputs
from autoal.strategies import STRATEGIES

N, C, D, T = 200, 5, 3, 9


@pytest.fixture(scope="module")
def pool():
    rng = np.random.default_rng(0)
    return {
        "logits": (4 * rng.standard_normal((N, C))).astype(np.float32),
        "embeddings": rng.standard_normal((N, D)).astype(np.float32),
        "mc_logits": (2 * rng.standard_normal((T, N, C))).astype(np.float32),
    }


def top(scores, labeled, size):
    """The plain definition: the best unlabeled by score, lowest index on ties."""
    scores = np.asarray(scores, dtype=np.float64).copy()
    scores[labeled] = -np.inf
    return np.lexsort((np.arange(len(scores)), -scores))[:size]


def expected_scores(name, pool):
    p = softmax(pool["logits"].astype(np.float64), axis=1)
    ordered = np.sort(p, axis=1)
    mc = softmax(pool["mc_logits"].astype(np.float64), axis=2)
    votes = np.stack([np.bincount(v, minlength=C) for v in mc.argmax(axis=2).T])
    return {
        "least_confidence": 1 - ordered[:, -1],
        "margin": 1 - (ordered[:, -1] - ordered[:, -2]),
        "entropy": scipy_entropy(p, axis=1),
        "bald": scipy_entropy(mc.mean(0), axis=1) + xlogy(mc, mc).sum(2).mean(0),
        "mean_std": mc.std(axis=0).mean(axis=1),
        "variation_ratio": 1 - votes.max(axis=1) / T,
    }[name]


@pytest.mark.parametrize("name", ["least_confidence", "margin", "entropy", "bald", "mean_std", "variation_ratio"])
def test_scores_and_order(name, pool):
    labeled = np.arange(0, N, 10)
    want = expected_scores(name, pool)
    query = autoal.select(Outputs(**pool), 30, strategy=name, labeled=labeled)
    np.testing.assert_allclose(query.scores, want[query.indices], atol=2e-6)
    np.testing.assert_array_equal(query.indices, top(want, labeled, 30))


def test_kcenter_is_farthest_first(pool):
    x = pool["embeddings"].astype(np.float64)
    labeled = [3, 77]
    distance = np.min([np.square(x - x[i]).sum(1) for i in labeled], axis=0)
    want = []
    for _ in range(25):
        want.append(int(distance.argmax()))
        distance = np.minimum(distance, np.square(x - x[want[-1]]).sum(1))
    query = autoal.select(Outputs(embeddings=pool["embeddings"]), 25, strategy="kcenter", labeled=labeled)
    assert query.indices.tolist() == want
    assert query.scores[-1] == pytest.approx(np.sqrt(distance.max()), rel=1e-5)


@pytest.mark.parametrize("installed", [True, False])
def test_kmeans_takes_the_sample_nearest_to_each_centroid(installed, monkeypatch):
    if installed:
        pytest.importorskip("faiss")
    else:
        monkeypatch.setitem(sys.modules, "faiss", None)
    rng = np.random.default_rng(0)
    centers = np.array([[0, 0], [100, 0], [0, 100], [100, 100]], np.float32)
    x = np.concatenate([c + rng.standard_normal((30 * (i + 1), 2)).astype(np.float32) for i, c in enumerate(centers)])
    cluster = np.repeat(np.arange(4), [30, 60, 90, 120])
    query = autoal.select(Outputs(embeddings=x), 4, strategy="kmeans")
    assert cluster[query.indices].tolist() == [3, 2, 1, 0], "largest cluster first"
    assert query.scores.tolist() == [120, 90, 60, 30]
    for index, c in zip(query.indices, cluster[query.indices], strict=True):
        members = np.flatnonzero(cluster == c)
        to_mean = np.square(x[members] - x[members].mean(0)).sum(1)
        assert index == members[to_mean.argmin()]


def test_badge_starts_at_the_largest_gradient_and_never_repeats_a_gradient(pool):
    p = softmax(pool["logits"].astype(np.float64), axis=1)
    a = p - np.eye(C)[p.argmax(1)]
    norm = np.linalg.norm(a, axis=1) * np.linalg.norm(pool["embeddings"], axis=1)
    labeled = np.array([int(norm.argmax())])
    norm_unlabeled = norm.copy()
    norm_unlabeled[labeled] = -1
    query = autoal.select(Outputs(logits=pool["logits"], embeddings=pool["embeddings"]), 20, "badge", labeled=labeled)
    assert query.indices[0] == norm_unlabeled.argmax()
    np.testing.assert_allclose(query.scores, norm[query.indices], rtol=1e-5)


@pytest.mark.parametrize(
    "name", ["badge", "bait", "neighbor_disagreement", "margin", "uherding_raw", "clustermargin", "dropquery"]
)
def test_rows_that_are_no_distribution_are_named_as_in_the_pool(name, pool):
    logits = pool["logits"].copy()
    logits[77, 1] = np.nan
    with pytest.raises(ValueError, match=r"logits holds NaN.* in row 77"):
        autoal.select(Outputs(logits=logits, embeddings=pool["embeddings"]), 3, name, labeled=np.arange(10))


def test_random_is_uniform_and_changes_with_the_seed():
    outputs = Outputs(logits=torch.zeros(20, 2))
    hits = np.zeros(20)
    for seed in range(2000):
        hits[autoal.select(outputs, 2, strategy="random", seed=seed).indices] += 1
    assert hits.sum() == 4000
    assert np.square(hits - 200).sum() / 200 < 50.8, "chi-squared, 19 degrees of freedom, 1e-4 tail"


def test_what_several_strategies_need_is_computed_once(pool, monkeypatch):
    from autoal import Context, ops

    calls = []
    original = ops.uncertainty_scores
    monkeypatch.setattr(ops, "uncertainty_scores", lambda *a, **k: calls.append(1) or original(*a, **k))
    context = Context.of(Outputs(**pool))
    for name in ("entropy", "margin", "least_confidence"):
        STRATEGIES[name]().query(context, 3)
    assert len(calls) == 1
