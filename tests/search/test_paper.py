"""The published search with repaired mechanics: gradients arrive, rows stay aligned, the helpful candidate wins."""

import numpy as np
import pytest
import torch
from torch import nn

import autoal
from autoal import Outputs
from autoal.search.paper import PaperSearch, relaxation
from autoal.search.paper.bilevel import Level, alternate
from autoal.search.paper.loss_prediction import LossPrediction, ranking_loss
from autoal.search.paper.nets import build_search_net


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
    assert np.mean(values > threshold.item()) == pytest.approx(share, abs=0.015)


def test_mixture_quantile_of_constant_scores():
    assert relaxation.mixture_quantile(torch.full((5,), 0.5), 0.4).item() == pytest.approx(0.5, abs=0.01)


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
    net = build_search_net("linear", x, 5, g)
    weights, _ = net(x)
    selected = relaxation.selection(weights, scores, 0.1, relaxation.temperature(step, 150))
    (-(selected * losses[:, 0]).mean()).backward()
    assert net.net.head.bias.grad.norm() > 1e-4
    assert net.net.head.weight.grad.norm() > 1e-4
    assert 1 < selected.sum() < 40


def test_loss_prediction_reaches_search_nets_trunk():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(32, 8, generator=g)
    net = build_search_net("linear", x, 5, g)
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


def synthetic(seed, n=400, n_labeled=160, s=4):
    """Two classes whose labels are noise in half of the space; candidate 0 points there, the others are noise."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 6)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    hard = x[:, 1] > 0
    y[hard] = rng.integers(0, 2, hard.sum())
    scores = rng.random((n, s))
    scores[:, 0] = hard + 0.3 * rng.random(n)
    labeled = np.sort(rng.choice(n, n_labeled, replace=False))
    unlabeled = np.setdiff1d(np.arange(n), labeled)
    return torch.from_numpy(x), labeled, y[labeled], unlabeled, 2, scores[labeled], scores[unlabeled], 0.1


def test_finds_the_candidate_that_points_at_errors():
    wins = 0  # 12 of 12 when this was written; chance is 1 in 4 per seed
    for seed in range(6):
        result = PaperSearch().search(*synthetic(seed), seed)
        wins += result.strategy_weights.argmax() == 0
    assert wins >= 5


def test_result_is_well_formed_and_reproducible():
    task = synthetic(0)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, two = (PaperSearch(steps=20).search(*task, 5) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    u = len(task[3])
    assert one.scores.shape == (u,) and one.weights_per_sample.shape == (u, 4)
    np.testing.assert_allclose(one.weights_per_sample.sum(1), 1, atol=1e-6)
    np.testing.assert_allclose(one.strategy_weights, one.weights_per_sample.mean(0))
    np.testing.assert_array_equal(one.scores, two.scores)
    assert (one.scores != PaperSearch(steps=20).search(*task, 6).scores).any()
    assert len(one.history["upper"]) == 20 and min(one.history["upper"]) > 0


def test_rows_stay_aligned():
    """Labeled samples in any order, with their labels and scores, tell the same; scores of other rows tell nothing."""
    aligned, broken = [], []
    for seed in range(4):
        x, labeled, labels, unlabeled, c, scores, pool_scores, ratio = synthetic(seed)
        order = np.random.default_rng(seed).permutation(len(labeled))
        for weights, given in ((aligned, scores[order]), (broken, scores)):
            task = (x, labeled[order], labels[order], unlabeled, c, given, pool_scores, ratio)
            weights.append(PaperSearch().search(*task, 3).strategy_weights[0])
    assert np.mean(aligned) > 0.3 > np.mean(broken), (aligned, broken)


@pytest.mark.parametrize("n_labeled", [1, 2, 3])
@pytest.mark.parametrize("backbone", ["linear", "mlp"])
def test_few_labels_one_class_one_candidate(n_labeled, backbone):
    x, labeled, labels, unlabeled, c, sl, su, ratio = synthetic(0)
    search = PaperSearch(backbone=backbone, steps=5, epochs=2)
    result = search.search(
        x, labeled[:n_labeled], labels[:n_labeled] * 0, unlabeled, c, sl[:n_labeled, :1], su[:, :1], ratio, 0
    )
    assert np.isfinite(result.scores).all()
    np.testing.assert_allclose(result.strategy_weights, [1.0])


def image_task():
    g = torch.Generator().manual_seed(0)
    images = torch.randint(256, (24, 8, 8), generator=g, dtype=torch.uint8)
    embeddings = images.reshape(24, -1).float() / 255
    return images, embeddings, np.arange(10), np.arange(10) % 3


def test_resnet18_on_images():
    images, _, labeled, labels = image_task()
    rng = np.random.default_rng(0)
    result = PaperSearch(backbone="resnet18", steps=2, epochs=1).search(
        images, labeled, labels, np.arange(10, 24), 3, rng.random((10, 2)), rng.random((14, 2)), 0.2, 0
    )
    assert np.isfinite(result.scores).all() and min(result.history["upper"]) > 0


def test_images_reach_a_convolving_backbone_through_autoal():
    images, embeddings, labeled, labels = image_task()
    own = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten())
    strategy = autoal.AutoAL(("entropy", "margin"), variant="paper", backbone=own)
    query = autoal.select(Outputs(embeddings=embeddings), 3, strategy, labeled=labeled, labels=labels, inputs=images)
    assert len(set(query.indices)) == 3 and sum(query.strategy_weights.values()) == pytest.approx(1)
    with pytest.raises(ValueError, match="inputs="):
        autoal.select(Outputs(embeddings=embeddings), 3, strategy, labeled=labeled, labels=labels)


def test_own_module_as_backbone():
    images, _, labeled, labels = image_task()
    own = nn.Sequential(nn.Flatten(), nn.Linear(64, 7), nn.ReLU())
    before = own[1].weight.clone()
    rng = np.random.default_rng(0)
    result = PaperSearch(backbone=own, steps=3, epochs=2).search(
        images, labeled, labels, np.arange(10, 24), 3, rng.random((10, 2)), rng.random((14, 2)), 0.2, 0
    )
    assert np.isfinite(result.scores).all()
    assert torch.equal(own[1].weight, before), "the user's module is copied"
    with pytest.raises(ValueError, match=r"embeddings \[N, D\]"):
        PaperSearch(backbone=nn.Identity()).search(
            images, labeled, labels, np.arange(10, 24), 3, rng.random((10, 2)), rng.random((14, 2)), 0.2, 0
        )


@pytest.mark.parametrize("query", ["top", "coverage"])
def test_whole_round_through_select(query):
    x, labeled, labels, *_ = synthetic(2)
    strategy = autoal.AutoAL(("entropy", "margin", "kcenter"), variant="paper", query=query)
    asked = autoal.select(Outputs(embeddings=x), 12, strategy, labeled=labeled, labels=labels, seed=1)
    assert len(set(asked.indices)) == 12 and not set(asked.indices) & set(labeled)
    assert set(asked.strategy_weights) == {"entropy", "margin", "kcenter"}
    assert {"votes", "weight_entropy", "vote_kcenter"} <= set(asked.provenance)


def test_unknown_backbone():
    with pytest.raises(ValueError, match="Did you mean 'resnet18'"):
        PaperSearch(backbone="resnet-18")
