"""The coverage variant, stage by stage and as a whole, against the plain numpy reference."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from autoal import AutoAL, Context, Outputs
from autoal.models import softmax_regression
from autoal.ops.rows import Rows
from autoal.search.coverage.kernel import bandwidth, kernel, kernel_of_similarity, nearest_similarity
from autoal.search.coverage.laplace import laplace_uncertainty
from autoal.search.coverage.neighbors import neighbor_graph
from autoal.search.coverage.search_net import Evidence, SearchNet
from autoal.search.coverage.signals import signals
from autoal.search.fit_net import FitNet


@pytest.fixture(scope="module")
def state(reference, digits):
    """What the reference holds with 60 labels."""
    x = reference.prepare(*[digits[0]] * 2)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    labeled = np.arange(0, 600, 10)
    weight = reference.fit_net(x[labeled], digits[1][labeled], 10)
    return {"x": x, "unit": unit, "labeled": labeled, "weight": weight}


def single(array):
    return torch.from_numpy(array).float()


def test_prepared_features(digits, state):
    x = softmax_regression.prepare(torch.from_numpy(digits[0]).half())
    np.testing.assert_allclose(x.numpy(), state["x"], atol=2e-6)


def test_fit_net(digits, state):
    labeled = state["labeled"]
    fitted = FitNet.fitted(single(state["x"][labeled]), digits[1][labeled], 10)
    np.testing.assert_allclose(fitted.weight, state["weight"], atol=1e-5)
    again = FitNet.fitted(single(state["x"][labeled]), digits[1][labeled], 10, start=fitted)
    np.testing.assert_array_equal(again.weight, fitted.weight)


def test_uncertainty(reference, state):
    want = reference.laplace_uncertainty(state["x"], state["weight"], state["x"][state["labeled"]])
    x = single(state["x"])
    z = x @ single(state["weight"])
    got = laplace_uncertainty(Rows(x), Rows(z), state["weight"], x[torch.from_numpy(state["labeled"])])
    np.testing.assert_allclose(got.numpy(), want, atol=1e-5)


def test_kernel_bandwidth_and_covering(reference, state, monkeypatch):
    monkeypatch.setattr("autoal.search.coverage.kernel.BLOCK", 1000)  # several blocks
    unit, unit_labeled = state["unit"], state["unit"][state["labeled"]]
    gamma = reference.bandwidth(unit_labeled)
    assert bandwidth(single(unit_labeled)) == pytest.approx(gamma, rel=1e-4)
    want = reference.kernel(unit, unit_labeled, gamma)
    np.testing.assert_allclose(kernel(single(unit), single(unit_labeled), gamma).numpy(), want, atol=1e-5)
    covered = kernel_of_similarity(nearest_similarity(Rows(single(unit)), single(unit_labeled)), gamma)
    np.testing.assert_allclose(covered.numpy(), want.max(axis=1), atol=1e-5)
    assert bandwidth(single(unit[:1])) == 1.0


def test_neighbors_and_signals(reference, state, monkeypatch):
    graph = reference.neighbor_graph(state["unit"])
    np.testing.assert_array_equal(np.sort(neighbor_graph(Rows(single(state["unit"]))), axis=1), np.sort(graph, axis=1))
    z = state["x"] @ state["weight"]
    rows, covered = np.arange(1, 600, 7), np.linspace(0, 1, 86)
    want = reference.signals(softmax(z, axis=1), rows, graph, covered)
    monkeypatch.setattr("autoal.search.coverage.signals.NUMBERS", 300)  # several parts
    got = signals(single(z), rows, graph[rows], single(covered))
    np.testing.assert_allclose(got, want, atol=1e-4)


def test_copies_are_not_their_own_neighbors():
    unit = torch.nn.functional.normalize(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    graph = neighbor_graph(Rows(unit.repeat(20, 1)))
    assert graph.shape == (100, 10)
    assert not (graph == np.arange(100)[:, None]).any()
    assert (graph % 5 == (np.arange(100) % 5)[:, None]).all(), "19 copies are nearer than anything else"


def test_search_net(reference):
    rng = np.random.default_rng(0)
    phi, one = rng.standard_normal((50, 4)), np.ones(50)
    wrong, crossfit = rng.random(50) < 0.4, rng.random(50) < 0.5
    want = reference.fit_search_net(np.column_stack([phi, wrong, one / 3, crossfit]))
    net = SearchNet(n_candidates=2)
    net.fit(Evidence(np.column_stack([phi, 0 * phi[:, :2]]), wrong, one / 3, crossfit.astype(float)))
    np.testing.assert_allclose(net.coefficients[[0, 1, 2, 3, 6]], want, atol=1e-10)
    np.testing.assert_array_equal(net.coefficients[4:6], 0)


@pytest.mark.filterwarnings("ignore::autoal.search.candidates.DegenerateCandidateWarning")
@pytest.mark.parametrize("damped", [True, False])
@pytest.mark.parametrize("search", ["none", "prior", "adaptive"])
def test_same_picks(reference, digits, constant, search, damped):
    """From the same state with the same halvings. All 20 are the same here; 19 allow for a tie within rounding."""
    x, y = digits
    theirs = reference.CoverageQuery(x, 10, search, damped)
    ours = AutoAL((constant,), search=search, damped=damped)
    labeled = np.random.default_rng(2).choice(len(x), 20, replace=False)
    for seed in range(5):
        context = Context.of(Outputs(embeddings=x), labeled, y[labeled], n_classes=10, seed=seed)
        want = theirs.query(labeled, y[labeled], 20, context.generator("halvings"))
        got = ours.query(context, 20)
        assert len(np.intersect1d(got.indices, want)) >= 19
        labeled = np.concatenate([labeled, want])
