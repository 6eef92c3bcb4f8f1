"""The published search with repaired mechanics: gradients arrive, rows stay aligned, the helpful candidate wins."""

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from torch import nn

import autoal
from autoal import AutoAL, Outputs
from autoal.models import softmax_regression
from autoal.search.autoal import DEFAULT_CANDIDATES
from autoal.search.paper import relaxation
from autoal.search.paper.bilevel import Level, alternate
from autoal.search.paper.loss_prediction import LossPrediction, ranking_loss
from autoal.search.paper.nets import build_search_net
from autoal.search.paper.search import BilevelSearch, HalfQueues
from autoal.search.paper.variant import weights_of


def test_alternating_steps_reach_the_known_equilibrium():
    # lower: min_w (w - a)^2; upper: min_a (a - 2)^2 + (a - w)^2. Each best reply given the other: w = a = 2.
    w, a = (torch.tensor(v, requires_grad=True) for v in (-1.0, 5.0))
    lower = Level(lambda step: (w - a.detach()) ** 2, torch.optim.SGD([w], lr=0.1))
    upper = Level(lambda step: (a - 2) ** 2 + (a - w.detach()) ** 2, torch.optim.SGD([a], lr=0.1))
    norms = alternate(lower, upper, 200)
    assert w.item() == pytest.approx(2, abs=1e-3) and a.item() == pytest.approx(2, abs=1e-3)
    assert norms["upper"][0] == pytest.approx(abs(2 * (5 - 2) + 2 * (5 + 1))), "the other level is a constant"
    assert norms["upper"][-1] < 1e-2


@pytest.mark.parametrize("share", [0.1, 0.3, 0.7])
def test_mixture_quantile_is_that_of_a_mixture(share):
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0.2, 0.05, 6000), rng.normal(0.7, 0.1, 4000)])
    threshold = relaxation.mixture_quantile(torch.from_numpy(values), share)
    assert np.mean(values > threshold) == pytest.approx(share, abs=0.015)


def test_mixture_quantile_of_constant_scores():
    assert relaxation.mixture_quantile(torch.full((5,), 0.5), 0.4) == pytest.approx(0.5, abs=0.01)


def test_regulariser_is_zero_at_the_wanted_count_and_has_a_gradient_beside_it():
    for level, sign in ((0.3, -1), (0.7, 1)):
        selected = torch.full((10,), level, requires_grad=True)
        value = relaxation.count_regulariser(selected, 0.5)
        want = 1 / (1 + np.exp(0.5 * abs(10 * level - 5))) - 0.5
        assert value.item() == pytest.approx(want, abs=1e-6)
        (-value).backward()
        assert (torch.sign(selected.grad) == sign).all(), "-L_re pulls the count to t B"
    assert relaxation.count_regulariser(torch.full((10,), 0.5), 0.5).item() == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("step", [0, 149])
def test_selection_loss_reaches_search_net_from_first_to_last_temperature(step):
    g = torch.Generator().manual_seed(0)
    x, scores, losses = (torch.rand(64, n, generator=g) for n in (8, 5, 1))
    net = build_search_net("linear", x, 5, False, g)
    weights, predicted = net(x)
    assert predicted is None
    selected = relaxation.selection(weights, scores, 0.1, relaxation.temperature(step, 150))
    (-(selected * losses[:, 0]).mean()).backward()
    assert net.net.head.bias.grad.norm() > 1e-4
    assert net.net.head.weight.grad.norm() > 1e-4
    assert 1 < selected.sum() < 40


def test_loss_prediction_reaches_search_nets_trunk():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(32, 8, generator=g)
    net = build_search_net("linear", x, 5, True, g)
    _, predicted = net(x)
    ranking_loss(predicted, x[:, 0]).backward()
    assert net.net.hidden.weight.grad.norm() > 1e-4


def test_ranking_loss_by_hand():
    predicted, losses = torch.tensor([2.0, 0.0, 0.5, 3.0]), torch.tensor([1.0, 1.0, 0.0, 2.0])
    # pairs (0, 2): sign +, difference 1.5 -> 0; (1, 3): sign -, difference -3 -> 0
    assert ranking_loss(predicted, losses).item() == 0
    # pairs (0, 2) reversed: 1 + 1.5; (1, 3): 1 + 3
    assert ranking_loss(-predicted, losses).item() == pytest.approx((2.5 + 4) / 2)
    assert ranking_loss(torch.ones(1), torch.ones(1)).item() == 0
    assert LossPrediction([3, 4])((torch.zeros(2, 3), torch.zeros(2, 4))).shape == (2,)


def ranked(scores):
    return torch.from_numpy((rankdata(scores, axis=0) - 0.5) / len(scores)).float()


def halved(x, y, scores, classes, ratio=0.1):
    """Half queues of labeled samples in random order; the linear FitNet is the softmax regression of its half."""
    middle, y = len(x) // 2, torch.from_numpy(y)
    weight = softmax_regression.fit(x[:middle].flatten(1).double().numpy(), y[:middle].numpy(), classes)
    return HalfQueues(x[:middle], y[:middle], x[middle:], y[middle:], ranked(scores[middle:]), weight, ratio)


def synthetic(seed, n=160, s=4):
    """Two classes whose labels are noise in half of the space; candidate 0 points there, the others are noise."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 6)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    hard = x[:, 1] > 0
    y[hard] = rng.integers(0, 2, hard.sum())
    scores = rng.random((n, s))
    scores[:, 0] = hard + 0.3 * rng.random(n)
    return softmax_regression.prepare(torch.from_numpy(x)), y, scores


def searched(half, seed=3, **options):
    """Mean weights [S] over the half that plays the pool, weights [H, S], and the gradients' norms."""
    net, norms = BilevelSearch(**options)(half, torch.Generator().manual_seed(seed))
    weights = weights_of(net, lambda rows: half.x_held[rows], np.arange(len(half.x_held)), 50)
    return weights.mean(axis=0), weights, norms


@pytest.mark.parametrize("loss_prediction", [True, False])
def test_finds_the_candidate_that_points_at_errors(loss_prediction):
    draws = np.array([searched(halved(*synthetic(s), 2), s, loss_prediction=loss_prediction)[0] for s in range(12)])
    assert (draws.argmax(axis=1) == 0).sum() >= 9, draws  # by chance (1 in 4 per draw) once in 2,500 times
    means = draws.mean(axis=0)
    assert means[0] > 0.3 > means[1:].max(), means


def test_search_is_reproducible_and_gradients_never_vanish():
    half = halved(*synthetic(0), 2)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    (_, one, norms), (_, two, _) = (searched(half, 5) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(one, two)
    assert (one != searched(half, 6)[1]).any()
    np.testing.assert_allclose(one.sum(axis=1), 1, atol=1e-6)
    assert one.std(axis=0).max() > 1e-4, "weights are per sample"
    assert len(norms["upper"]) == len(norms["lower"]) == 150
    assert min(norms["upper"]) > 1e-4 and min(norms["lower"]) > 1e-4


def test_rows_stay_aligned():
    """Scores that belong to other rows tell nothing of the candidates."""
    aligned, broken = [], []
    for seed in range(5):
        x, y, scores = synthetic(seed)
        aligned.append(searched(halved(x, y, scores, 2))[0][0])
        broken.append(searched(halved(x, y, np.random.default_rng(seed).permutation(scores), 2))[0][0])
    assert np.mean(aligned) > 0.3 > np.mean(broken), (aligned, broken)
    assert np.mean(aligned) > np.mean(broken) + 0.02, (aligned, broken)


def test_loss_prediction_moves_search_net_and_only_while_it_is_on():
    half = halved(*synthetic(0, s=1), 2)  # one candidate: its weight is 1 whatever the trunk does
    for loss_prediction in (True, False):
        mean, _, norms = searched(half, loss_prediction=loss_prediction)
        np.testing.assert_allclose(mean, [1.0])
        assert (min(norms["upper"]) > 1e-3) if loss_prediction else (max(norms["upper"]) < 1e-6)


@pytest.mark.parametrize("backbone", ["linear", "mlp"])
@pytest.mark.parametrize("n_labeled", [1, 2, 3])
@pytest.mark.parametrize("candidates", [("margin",), ("margin", "kmeans")])
@pytest.mark.filterwarnings(
    "ignore::autoal.search.candidates.DegenerateCandidateWarning"
)  # of one class nothing is told
def test_few_labels_of_one_class(backbone, n_labeled, candidates):
    x = np.random.default_rng(0).standard_normal((40, 5)).astype(np.float32)
    strategy = AutoAL(candidates, variant="paper", backbone=backbone)
    query = autoal.select(Outputs(embeddings=x), 4, strategy, labeled=np.arange(n_labeled), labels=[0] * n_labeled)
    assert len(set(query.indices)) == 4 and np.isfinite(query.scores).all()
    if n_labeled == 1:
        assert set(query.strategy_weights.values()) == {1 / len(candidates)}, "one label has no halves"


def image_task():
    g = torch.Generator().manual_seed(0)
    images = torch.randint(256, (24, 8, 8), generator=g, dtype=torch.uint8)
    embeddings = images.reshape(24, -1).float() / 255
    return images, embeddings, np.arange(10), np.arange(10) % 3


def test_resnet18_on_images():
    g = torch.Generator().manual_seed(0)
    images = torch.rand(12, 1, 8, 8, generator=g)
    half = halved(images, np.arange(12) % 3, np.random.default_rng(0).random((12, 2)), 3)
    _, weights, norms = searched(half, backbone="resnet18", steps=2, epochs=1)
    assert np.isfinite(weights).all() and min(norms["upper"]) > 0


def test_search_nets_batch_norm_knows_its_inputs():
    g = torch.Generator().manual_seed(0)
    images = 5 + torch.rand(16, 1, 8, 8, generator=g)  # an offset that the stem's first statistics do not expect
    net = build_search_net("resnet18", images, 2, True, g).eval()
    first = net.net.features(images)[0]
    assert 0.1 < first.mean() < 2 and not net.training


def test_images_reach_a_convolving_backbone_through_autoal():
    images, embeddings, labeled, labels = image_task()
    own = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten())
    before = own[0].weight.clone()
    strategy = AutoAL(("entropy", "margin"), variant="paper", backbone=own)
    query = autoal.select(Outputs(embeddings=embeddings), 3, strategy, labeled=labeled, labels=labels, inputs=images)
    assert len(set(query.indices)) == 3 and sum(query.strategy_weights.values()) == pytest.approx(1)
    assert torch.equal(own[0].weight, before), "the user's module is copied"
    with pytest.raises(ValueError, match="inputs="):
        autoal.select(Outputs(embeddings=embeddings), 3, strategy, labeled=labeled, labels=labels)


def test_own_module_on_features():
    _, embeddings, labeled, labels = image_task()
    given = {"labeled": labeled, "labels": labels, "inputs": embeddings}
    own = nn.Sequential(nn.Linear(64, 7), nn.ReLU())
    query = autoal.select(Outputs(embeddings=embeddings), 3, AutoAL(variant="paper", backbone=own), **given)
    assert len(set(query.indices)) == 3
    with pytest.raises(ValueError, match=r"embeddings \[N, D\]"):
        flat = nn.Flatten(0)
        autoal.select(Outputs(embeddings=embeddings), 3, AutoAL(variant="paper", backbone=flat), **given)


@pytest.fixture
def spied(monkeypatch):
    """What ``PaperSearch`` gives to the search, round by round."""
    seen, original = [], BilevelSearch.__call__
    monkeypatch.setattr(BilevelSearch, "__call__", lambda self, half, g: seen.append(half) or original(self, half, g))
    return seen


def test_candidates_judge_the_half_that_plays_the_pool_by_what_the_other_half_knows(context, spied):
    AutoAL(("margin",), variant="paper").query(context, 28)
    (half,) = spied
    assert len(half.x_train) == len(half.x_held) == 20 and half.ratio == 28 / len(context.unlabeled)
    x = softmax_regression.prepare(context.outputs.embeddings)[torch.from_numpy(context.labeled)]
    rows = torch.cat([half.x_train, half.x_held])
    where = torch.cdist(rows, x).argmin(dim=1).numpy()
    assert sorted(where) == list(range(40)), "each label once: in one half or in the other"
    np.testing.assert_array_equal(torch.cat([half.y_train, half.y_held]), context.labels[where])
    weight = softmax_regression.fit(half.x_train.double().numpy(), half.y_train.numpy(), 10)
    np.testing.assert_allclose(half.weight, weight, atol=1e-6)
    first, second = np.sort(softmax_regression.probabilities(half.x_held, weight).numpy(), axis=1).T[[-1, -2]]
    np.testing.assert_allclose(half.scores[:, 0], ranked(second - first), atol=1e-6)


@pytest.mark.parametrize("loss_prediction", [True, False])
@pytest.mark.parametrize("query", ["top", "coverage"])
@pytest.mark.parametrize("n", [1, 3, 5, 7])
@pytest.mark.filterwarnings("error::autoal.search.candidates.DegenerateCandidateWarning")
def test_ablations(context, query, n, loss_prediction):
    names = DEFAULT_CANDIDATES[:n]
    strategy = AutoAL(names, variant="paper", query=query, loss_prediction=loss_prediction)
    asked = strategy.query(context, 12)
    assert len(set(asked.indices)) == 12 and not set(asked.indices) & set(context.labeled)
    assert tuple(asked.strategy_weights) == names and sum(asked.strategy_weights.values()) == pytest.approx(1)
    assert {"weight", "votes", *(f"{what}_{name}" for what in ("vote", "weight") for name in names)} <= set(
        asked.provenance
    )
    weights = np.sum([asked.provenance[f"weight_{name}"] for name in names], axis=0)
    np.testing.assert_allclose(weights, 1, atol=1e-5)
    if n == 1 and query == "top":
        assert asked.provenance["votes"].all(), "a single candidate's top batch is its own"


def test_top_takes_the_highest_scores(context):
    asked = AutoAL(DEFAULT_CANDIDATES[:3], variant="paper", query="top").query(context, 12)
    assert (np.diff(asked.scores) <= 0).all()
    np.testing.assert_allclose(asked.scores, asked.provenance["weight"])
    other = AutoAL(DEFAULT_CANDIDATES[:3], variant="paper", query="coverage").query(context, 12)
    assert asked.strategy_weights == other.strategy_weights, "the form of the query does not touch the search"
    assert set(asked.indices) != set(other.indices)


def test_without_search_all_candidates_weigh_the_same(context, spied):
    asked = AutoAL(DEFAULT_CANDIDATES[:3], variant="paper", query="top", search="none").query(context, 12)
    assert not spied and asked.strategy_weights == pytest.approx(dict.fromkeys(DEFAULT_CANDIDATES[:3], 1 / 3))


def test_unknown_backbone():
    with pytest.raises(ValueError, match="Did you mean 'resnet18'"):
        AutoAL(variant="paper", backbone="resnet-18")
