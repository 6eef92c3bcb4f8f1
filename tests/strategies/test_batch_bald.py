"""BatchBALD against the joint entropy enumerated over all label configurations; PowerBALD against its law."""

import itertools
import warnings

import numpy as np
import pytest
import torch
from scipy.special import softmax, xlogy
from scipy.stats import chisquare

import autoal
from autoal import Context, Outputs
from autoal.strategies import batch_bald
from autoal.strategies.batch_bald import BatchBald, Configurations, PowerBald, SaturationWarning, greedy

T, N, C = 6, 9, 3


def samples(t=T, n=N, c=C, seed=0, spread=2.0):
    return (spread * np.random.default_rng(seed).standard_normal((t, n, c))).astype(np.float32)


def information(p, chosen):
    """I(y_S; w) in nats of p [T, N, C], by its definition: every configuration of S."""
    h_joint = 0.0
    for labels in itertools.product(range(p.shape[2]), repeat=len(chosen)):
        of_model = np.prod([p[:, i, y] for i, y in zip(chosen, labels, strict=True)], axis=0)
        h_joint -= xlogy(of_model.mean(), of_model.mean())
    return h_joint + sum(xlogy(p[:, i], p[:, i]).sum(axis=1).mean() for i in chosen)


def plain_greedy(p, size):
    chosen, gains = [], []
    for _ in range(size):
        rest = [i for i in range(p.shape[1]) if i not in chosen]
        values = [information(p, [*chosen, i]) - (information(p, chosen) if chosen else 0) for i in rest]
        chosen.append(rest[int(np.argmax(values))])
        gains.append(max(values))
    return chosen, gains


@pytest.mark.parametrize("seed", range(4))
def test_picks_and_gains_are_those_of_the_enumerated_joint_entropy(seed):
    mc = samples(seed=seed)
    chosen, gains = plain_greedy(softmax(mc.astype(np.float64), axis=2), 5)
    query = autoal.select(Outputs(mc_logits=mc), 5, "batchbald")
    assert query.indices.tolist() == chosen
    np.testing.assert_allclose(query.scores, gains, atol=2e-5)


def test_labeled_samples_are_left_out_of_the_batch():
    mc = samples()
    p = softmax(mc.astype(np.float64), axis=2)
    labeled = plain_greedy(p, 2)[0]
    rest = np.setdiff1d(np.arange(N), labeled)
    want = rest[plain_greedy(p[:, rest], 3)[0]]
    assert autoal.select(Outputs(mc_logits=mc), 3, "batchbald", labeled=labeled).indices.tolist() == want.tolist()


def test_what_pending_samples_will_tell_is_not_asked_for_again():
    mc = samples()
    whole = autoal.select(Outputs(mc_logits=mc), 5, "batchbald")
    rules = autoal.Constraints(pending=whole.indices[:2])
    rest = autoal.select(Outputs(mc_logits=mc), 3, "batchbald", constraints=rules)
    assert rest.indices.tolist() == whole.indices[2:].tolist()
    np.testing.assert_allclose(rest.scores, whole.scores[2:], atol=1e-6)


def test_copies_do_not_fill_a_batch_as_they_do_for_bald():
    mc = np.concatenate([np.repeat(samples(n=1, spread=6), 20, axis=1), samples(n=5, seed=1)], axis=1)
    assert (autoal.select(Outputs(mc_logits=mc), 4, "bald").indices < 20).all()
    assert (autoal.select(Outputs(mc_logits=mc), 4, "batchbald").indices < 20).sum() <= 2


def test_lazy_picks_are_plain_ones():
    mc = torch.from_numpy(samples(t=8, n=400, spread=1.0))
    p = mc.softmax(dim=2)
    picked, gains = greedy(p, np.full(400, np.inf), 4, Configurations(8, C, np.random.default_rng(0)))
    configurations = Configurations(8, C, np.random.default_rng(0))
    for pick, gain in zip(picked, gains, strict=True):
        all_gains = configurations.gains(p)
        assert all_gains[pick] == pytest.approx(float(gain), abs=1e-6)
        assert float(all_gains.max()) <= gain + 1e-6
        configurations.extend(p[:, pick])
    assert configurations.exact


def test_gains_in_parts_are_the_same(monkeypatch):
    p = torch.from_numpy(samples(t=8, n=50)).softmax(dim=2)
    configurations = Configurations(8, C, np.random.default_rng(0))
    for pick in (3, 7):
        configurations.extend(p[:, pick])
    whole = configurations.gains(p)
    monkeypatch.setattr(batch_bald, "BLOCK_NUMBERS", 100)
    torch.testing.assert_close(configurations.gains(p), whole)


@pytest.mark.parametrize("numbers", [120, 1_500])
def test_drawn_configurations_estimate_the_gains_without_bias(monkeypatch, numbers):
    p = torch.from_numpy(samples(t=12, n=10, spread=1.0)).softmax(dim=2)
    exact = Configurations(12, C, np.random.default_rng(0))
    for i in range(6):
        exact.extend(p[:, i])
    assert exact.exact
    monkeypatch.setattr(batch_bald, "CONFIGURATION_NUMBERS", numbers)
    estimates = []
    for seed in range(60):
        drawn = Configurations(12, C, np.random.default_rng(seed))
        for i in range(6):
            drawn.extend(p[:, i])
        assert not drawn.exact and len(drawn.weight) * C <= numbers
        assert drawn.weight.sum() == pytest.approx(1, abs=1e-4)
        estimates.append(drawn.gains(p[:, 6:]).numpy())
    estimates, want = np.array(estimates), exact.gains(p[:, 6:]).numpy()
    z = (estimates.mean(axis=0) - want) / (estimates.std(axis=0, ddof=1) / np.sqrt(len(estimates)))
    assert np.abs(z).max() < 4
    assert np.abs(estimates - want).max() < (0.5 if numbers == 120 else 0.1) * want.max()


def test_many_classes_stay_bounded_and_the_information_at_most_log_t():
    mc = samples(t=20, n=300, c=100, spread=1.5)
    with pytest.warns(SaturationWarning, match="only fill up"):
        query = autoal.select(Outputs(mc_logits=mc), 200, "batchbald")
    assert query.scores.sum() <= np.log(20) + 0.05
    added = query.scores > 0
    assert (np.diff(added.astype(int)) <= 0).all() and 2 < added.sum() < 200
    p = softmax(mc.astype(np.float64), axis=2)
    bald = -xlogy(p.mean(0), p.mean(0)).sum(1) + xlogy(p, p).sum(2).mean(0)
    filled = query.indices[~added]
    assert (np.diff(bald[filled]) < 1e-5).all(), "the rest by BALD"


def test_equal_samples_say_nothing():
    with pytest.warns(SaturationWarning, match="10 of 10"):
        query = autoal.select(Outputs(mc_logits=np.ones((4, 30, 3), np.float32)), 10, "batchbald")
    assert query.indices.tolist() == list(range(10))


def test_only_the_shortlist_is_looked_at(monkeypatch):
    monkeypatch.setattr(batch_bald, "SHORTLIST", 6)
    monkeypatch.setattr(batch_bald, "SHORTLIST_PER_PICK", 1)
    mc = samples(n=40)
    best = autoal.select(Outputs(mc_logits=mc), 6, "bald").indices
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaturationWarning)
        assert set(autoal.select(Outputs(mc_logits=mc), 6, BatchBald).indices) == set(best)


@pytest.mark.parametrize("beta", [1.0, 2.0])
def test_powerbald_draws_with_probability_bald_to_the_power_of_beta(beta):
    mc = samples(n=5)
    p = softmax(mc.astype(np.float64), axis=2)
    bald = -xlogy(p.mean(0), p.mean(0)).sum(1) + xlogy(p, p).sum(2).mean(0)
    weight = bald[:4] ** beta  # sample 4 is labeled
    pairs = np.zeros((4, 4))
    for seed in range(4000):
        query = autoal.select(Outputs(mc_logits=mc), 2, PowerBald(beta), labeled=[4], seed=seed)
        pairs[tuple(query.indices)] += 1
    law = np.array(
        [[0 if i == j else weight[i] * weight[j] / (weight.sum() - weight[i]) for j in range(4)] for i in range(4)]
    )
    law *= 4000 / weight.sum()
    assert chisquare(pairs[law > 0], law[law > 0]).pvalue > 1e-4


def test_powerbald_takes_samples_without_information_last():
    mc = samples(n=8)
    mc[:, [1, 5]] = 0
    query = autoal.select(Outputs(mc_logits=mc), 8, "powerbald")
    assert set(query.indices[-2:]) == {1, 5} and np.isfinite(query.scores).all()


@pytest.mark.parametrize("beta", [-1, np.inf, np.nan])
def test_powerbald_refuses_an_impossible_beta(beta):
    with pytest.raises(ValueError, match="beta must be finite"):
        PowerBald(beta)


def test_scores_of_powerbald_are_log_bald_and_gumbel_noise():
    mc = samples()
    context = Context.of(Outputs(mc_logits=mc), seed=4)
    p = softmax(mc.astype(np.float64), axis=2)
    bald = -xlogy(p.mean(0), p.mean(0)).sum(1) + xlogy(p, p).sum(2).mean(0)
    noise = context.generator("powerbald").gumbel(size=N)
    np.testing.assert_allclose(PowerBald(3).score(context).numpy(), 3 * np.log(bald) + noise, atol=1e-4)
