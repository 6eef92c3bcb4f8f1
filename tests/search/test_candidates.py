"""The candidates' continuous scores and votes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from autoal import Outputs, strategies
from autoal.search import candidates as module
from autoal.search.candidates import Candidates, DegenerateCandidateWarning, half_context
from autoal.search.features import Features
from autoal.search.fit_net import FitNet, halves
from autoal.strategies import Picks, Strategy

DEFAULT = ("entropy", "margin", "least_confidence", "kmeans", "bald", "variation_ratio", "mean_std")


@pytest.fixture
def known(context):
    """Features and FitNet of the context."""
    features = Features(context.outputs.embeddings)
    x = features.x[torch.from_numpy(context.labeled)]
    return features, FitNet.fitted(x, context.labels, context.n_classes)


class Brightest(Strategy):
    """Chooses a set: the brightest images of what it is shown. Keeps what it is asked."""

    name = "brightest"
    needs = ("embeddings",)

    def __init__(self):
        self.sizes = []

    def pick(self, context, size):
        self.sizes.append((len(context.unlabeled), size))
        x = context.outputs.embeddings.sum(1).numpy()[context.unlabeled]
        return Picks(context.unlabeled[np.argsort(-x, kind="stable")[:size]], np.zeros(size))


def test_ranks_order_the_unlabeled_samples_as_the_scores_do(context, known, pixel):
    features, fit_net = known
    ranks = Candidates(("margin", pixel)).ranks(context, fit_net, features.x, 10)
    assert ranks.shape == (len(context.unlabeled), 2)
    assert ranks.min() > 0 and ranks.max() < 1
    np.testing.assert_allclose(ranks.mean(axis=0), 0.5)
    first, second = np.sort(fit_net.logits(features.x).softmax(1).numpy()[context.unlabeled], axis=1).T[[-1, -2]]
    np.testing.assert_array_equal(np.argsort(ranks[:, 0])[-20:], np.argsort(second - first)[-20:])
    x = context.outputs.embeddings[:, 20].numpy()[context.unlabeled]
    assert (np.diff(ranks[np.argsort(x, kind="stable"), 1]) >= 0).all()
    assert len(np.unique(ranks[:, 1])) == len(np.unique(x)), "equal scores share a rank"


def test_votes_are_the_candidates_own_batches(context, known):
    features, fit_net = known
    full = replace(context, outputs=Outputs(fit_net.logits(features.x), context.outputs.embeddings), shared={})
    chosen = Candidates(("entropy", "kmeans", "kcenter", "badge"))
    ranks = chosen.ranks(full, fit_net, features.x, 15)
    votes = chosen.votes(full, fit_net, features.x, 15, ranks)
    for k, name in enumerate(chosen.names):
        want = strategies.resolve(name).query(full, 15).indices
        np.testing.assert_array_equal(context.unlabeled[votes[:, k]], np.sort(want))


def test_scores_that_are_shared_are_those_of_the_outputs_that_are_drawn(context, known):
    """A query that is asked again shares what strategies share; FitNet's MC samples are then others."""
    features, fit_net = known
    bald = Candidates(("bald",))

    def ranks(seed, shared):
        return bald.ranks(replace(context, seed=seed, shared=shared), fit_net, features.x, 10)

    shared = {}
    ranks(1, shared)
    assert np.array_equal(ranks(2, shared), ranks(2, {})) and not np.array_equal(ranks(1, {}), ranks(2, {}))


def test_batches_are_those_votes_in_the_candidates_own_order(context, known, monkeypatch):
    features, fit_net = known
    monkeypatch.setattr(module, "MC_NUMBERS", 20 * 10 * 100)  # several parts of the pool
    chosen = Candidates(("entropy", "bald", "kcenter"))
    ranks = chosen.ranks(context, fit_net, features.x, 15)
    votes = chosen.votes(context, fit_net, features.x, 15, ranks)
    for k, batch in enumerate(chosen.batches(context, fit_net, features.x, 15)):
        np.testing.assert_array_equal(np.sort(batch), context.unlabeled[votes[:, k]])
        if k < 2:
            assert (np.diff(ranks[np.searchsorted(context.unlabeled, batch), k]) <= 0).all()
    drawn = replace(context, outputs=Outputs(fit_net.logits(features.x), context.outputs.embeddings), shared={})
    assert chosen.batches(drawn, fit_net, features.x, 15)[2].tolist() == batch.tolist()


def test_a_candidate_may_be_shown_a_part_of_the_pool(context, known):
    features, fit_net = known
    among = context.unlabeled[::3]
    batch = Candidates(("margin",)).batch_among(0, context, fit_net, features.x, 9, among)
    first, second = np.sort(fit_net.logits(features.x).softmax(1).numpy()[among], axis=1).T[[-1, -2]]
    np.testing.assert_array_equal(np.sort(batch), np.sort(among[np.argsort(first - second)[:9]]))


def test_set_choosing_candidates_are_ranked_by_how_often_they_pick_a_sample(context, known):
    features, fit_net = known
    brightest = Brightest()
    n = len(context.unlabeled)
    ranks = Candidates((brightest,)).ranks(context, fit_net, features.x, 56)[:, 0]
    assert brightest.sizes == [(n // 2, 28)] * 2 * module.PARTITIONS, "the same share of random halves"
    x = context.outputs.embeddings.sum(1).numpy()[context.unlabeled]
    always, never = x > np.sort(x)[-10], x < np.median(x)
    assert ranks[always].min() == ranks.max()
    assert ranks[never].max() == ranks.min()


def test_set_choosing_candidates_see_large_pools_in_parts(context, known, monkeypatch):
    features, fit_net = known
    monkeypatch.setattr(module, "SUBSAMPLE", 100)
    monkeypatch.setattr(module, "WHOLE_POOL", 500)
    brightest = Brightest()
    chosen = Candidates((brightest,))
    ranks = chosen.ranks(context, fit_net, features.x, 56)
    assert max(n for n, _ in brightest.sizes) <= 100
    votes = chosen.votes(context, fit_net, features.x, 56, ranks)
    assert votes.sum() == 56 and ranks[votes[:, 0], 0].min() >= ranks[~votes[:, 0], 0].max()


def test_missing_outputs_are_drawn_from_fit_net(context, known, monkeypatch):
    features, fit_net = known
    chosen = Candidates(DEFAULT)
    assert set(chosen.needs) == {"logits", "embeddings", "mc_logits"}
    drawn = chosen.ranks(context, fit_net, features.x, 20)
    given = replace(context, outputs=Outputs(fit_net.logits(features.x), context.outputs.embeddings, None), shared={})
    np.testing.assert_array_equal(chosen.ranks(given, fit_net, features.x, 20), drawn)
    other = replace(context, outputs=Outputs(features.x[:][:, :10], context.outputs.embeddings), shared={})
    assert not np.array_equal(chosen.ranks(other, fit_net, features.x, 20)[:, :3], drawn[:, :3]), "given ones count"
    monkeypatch.setattr(module, "MC_NUMBERS", 50 * fit_net.mc_numbers_per_row)  # 12 parts
    in_parts = chosen.ranks(replace(context, shared={}), fit_net, features.x, 20)
    scored = [k for k, name in enumerate(DEFAULT) if name != "kmeans"]
    np.testing.assert_allclose(in_parts[:, scored], drawn[:, scored], atol=5e-3)


def test_where_mc_samples_come_in_parts_sets_are_chosen_within_them(context, known, monkeypatch):
    features, fit_net = known
    monkeypatch.setattr(module, "MC_NUMBERS", 150 * fit_net.mc_numbers_per_row)  # 4 parts of 140
    brightest = Brightest()
    ranks = Candidates((brightest, "bald")).ranks(context, fit_net, features.x, 56)[:, 0]
    assert brightest.sizes == [(70, 7)] * 2 * module.PARTITIONS * 4
    x = context.outputs.embeddings.sum(1).numpy()[context.unlabeled]
    assert np.corrcoef(rankdata(x), ranks)[0, 1] > 0.3, "parts are random: each holds bright ones"
    assert len(np.unique(ranks)) > 2


def test_mc_samples_share_their_masks_between_rows(known):
    features, fit_net = known
    mc = fit_net.mc_logits(features.x.take(torch.arange(30)), seed=1)
    torch.testing.assert_close(mc[:, 5:9], fit_net.mc_logits(features.x.take(torch.arange(5, 9)), seed=1))
    assert (mc.std(0) > 0).all()
    assert not torch.equal(mc, fit_net.mc_logits(features.x.take(torch.arange(30)), seed=2))


def test_halves_of_the_labels_play_the_pool(context, known):
    features, _ = known
    rng = np.random.default_rng(0)
    seen = list(halves(features, context.labeled, context.labels, 10, 2, rng))
    assert len(seen) == 4
    for half in seen:
        assert sorted([*half.train, *half.held]) == list(range(40))
        play = half_context(context, half.train)
        np.testing.assert_array_equal(play.unlabeled, half.held)
        np.testing.assert_array_equal(play.labels, context.labels[half.train])
        assert not play.outputs.has("logits"), "the model's logits know the answers"
        x = features.x.take(torch.from_numpy(context.labeled))
        ranks = Candidates(DEFAULT).ranks(play, half.fit_net, x, 2)
        assert ranks.shape == (20, 7)
    assert list(halves(features, context.labeled[:1], context.labels[:1], 10, 3, rng)) == []


def test_degenerate_candidates_are_warned_of(context, known, constant):
    features, fit_net = known
    chosen = Candidates((constant, "margin"))
    with pytest.warns(DegenerateCandidateWarning, match="'constant' gives all"):
        chosen.warn_of_degenerate(chosen.ranks(context, fit_net, features.x, 5))
    two = replace(context, outputs=Outputs(fit_net.logits(features.x)[:, :2], context.outputs.embeddings), shared={})
    chosen = Candidates(("margin", "least_confidence"))
    with pytest.warns(DegenerateCandidateWarning, match="'margin' and 'least_confidence' rank"):
        chosen.warn_of_degenerate(chosen.ranks(two, fit_net, features.x, 5))


def test_default_candidates_are_not_degenerate(context, known, recwarn):
    features, fit_net = known
    chosen = Candidates(DEFAULT)
    chosen.warn_of_degenerate(chosen.ranks(context, fit_net, features.x, 5))
    assert not [w for w in recwarn if issubclass(w.category, DegenerateCandidateWarning)]


def test_broken_candidates_are_named(context, known, pixel):
    features, fit_net = known

    class Nan(pixel):
        name = "nan"

        def score(self, context):
            return super().score(context) * torch.nan

    class Short(pixel):
        name = "short"

        def score(self, context):
            return super().score(context)[:-1]

    for broken, message in ((Nan, "'nan' gives NaN"), (Short, r"'short' must score \[600\] samples, gave \(599,\)")):
        with pytest.raises(ValueError, match=message):
            Candidates((broken,)).ranks(context, fit_net, features.x, 5)


def test_bad_sets():
    with pytest.raises(ValueError, match="at least one"):
        Candidates(())
    with pytest.raises(ValueError, match="'margin' comes 2 times"):
        Candidates(("margin", "entropy", "margin"))
    with pytest.raises(ValueError, match="Did you mean 'entropy'"):
        Candidates(("entrpy",))
    with pytest.raises(TypeError, match="sequence of strategies"):
        Candidates("entropy")
