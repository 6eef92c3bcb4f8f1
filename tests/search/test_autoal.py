"""AutoAL as a strategy: what it takes, what it tells of its picks, what it remembers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import autoal
from autoal import AutoAL, Context, Outputs
from autoal.models import softmax_regression
from autoal.search import candidates
from autoal.search.fit_net import FitNet

CANDIDATES = ("entropy", "margin", "kmeans")


def rounds(strategy, digits, n, seed=0, **changes):
    """The queries of n rounds on the digits, each answered."""
    x, y = digits
    labeled = np.random.default_rng(seed).choice(len(x), 20, replace=False)
    queries = []
    for number in range(n):
        context = Context.of(Outputs(embeddings=x), labeled, y[labeled], n_classes=10, seed=number)
        queries.append(strategy.query(replace(context, **changes), 10))
        labeled = np.concatenate([labeled, queries[-1].indices])
    return queries


@pytest.mark.parametrize("search", ["adaptive", "prior", "none"])
@pytest.mark.parametrize("damped", [True, False])
def test_provenance(context, search, damped):
    query = AutoAL(CANDIDATES, search=search, damped=damped).query(context, 12)
    p = query.provenance
    votes = [f"vote_{name}" for name in CANDIDATES]
    assert set(p) == {"uncertainty", "error_probability", "weight", "targets", "votes", *votes}
    assert all(column.shape == (12,) for column in p.values())
    assert set(np.unique([p[name] for name in votes])) <= {0, 1}
    np.testing.assert_array_equal(np.sum([p[name] for name in votes], axis=0), p["votes"])
    for name in ("uncertainty", "error_probability", "weight"):
        assert ((p[name] > 0) & (p[name] <= 1)).all()
    if search == "none":
        np.testing.assert_array_equal(p["error_probability"], p["uncertainty"])
    want = np.sqrt(p["error_probability"] * p["uncertainty"]) if damped else p["error_probability"]
    np.testing.assert_allclose(p["weight"], want, rtol=1e-5)
    assert (np.diff(query.scores) <= 1e-6).all(), "gains only shrink"
    assert (p["targets"] == 560).all()


def test_votes_say_which_candidate_would_have_picked_a_sample(context):
    query = AutoAL(CANDIDATES).query(context, 12)
    logits = torch.zeros(len(context), 10)
    logits[torch.from_numpy(query.indices[:3]), 0] = 1  # all others are tied at the highest entropy
    changed = replace(context, outputs=Outputs(1 - logits * 3, context.outputs.embeddings), shared={})
    again = AutoAL(("entropy",)).query(changed, 12)
    ordered = context.unlabeled[~np.isin(context.unlabeled, query.indices[:3])]
    np.testing.assert_array_equal(again.provenance["vote_entropy"] == 1, np.isin(again.indices, ordered[:12]))


@pytest.mark.parametrize("search", ["adaptive", "prior", "none"])
def test_strategy_weights(digits, search):
    for query in rounds(AutoAL(CANDIDATES, search=search), digits, 3):
        weights = query.strategy_weights
        assert tuple(weights) == CANDIDATES
        assert min(weights.values()) >= 0 and sum(weights.values()) == pytest.approx(1)
        if search == "none":
            assert weights == pytest.approx(dict.fromkeys(CANDIDATES, 1 / 3))
        else:
            assert weights["margin"] > weights["kmeans"], "SearchNet looks for errors, as margin does"


def test_a_candidate_that_sees_the_errors_gains_weight(digits, pixel):
    """Odd digits get random labels; a candidate that asks for them is right about FitNet's errors."""
    x, y = digits
    noisy = np.where(y % 2 == 1, np.random.default_rng(0).integers(10, size=len(y)), y)
    odd = {row.tobytes(): number % 2 for row, number in zip(x.astype(np.float32), y, strict=True)}

    class Odd(pixel):
        name = "odd"

        def score(self, context):
            rows = context.outputs.embeddings.numpy()
            return torch.tensor([odd[row.tobytes()] for row in rows]) + super().score(context) / 100

    strategy, labeled = AutoAL(("entropy", Odd)), np.arange(40)
    for number in range(4):
        context = Context.of(Outputs(embeddings=x), labeled, noisy[labeled], n_classes=10, seed=number)
        query = strategy.query(context, 20)
        labeled = np.concatenate([labeled, query.indices])
    before = AutoAL(("entropy", Odd), search="prior").query(replace(context, shared={}), 20)
    assert query.strategy_weights["odd"] > before.strategy_weights["odd"] + 0.03


def test_without_adaptive_search_the_candidates_do_not_move_the_query(context):
    for search in ("prior", "none"):
        one, other = (AutoAL(names, search=search).query(context, 15) for names in (("margin",), ("kmeans", "bald")))
        np.testing.assert_array_equal(one.indices, other.indices)


def test_reproducible_by_seed(context):
    one, two = (AutoAL().query(context, 15) for _ in range(2))
    np.testing.assert_array_equal(one.indices, two.indices)
    assert one.strategy_weights == two.strategy_weights
    assert AutoAL().query(replace(context, seed=6), 15).strategy_weights != one.strategy_weights
    own = [AutoAL(seed=3).query(replace(context, seed=seed), 15) for seed in (1, 2)]
    assert own[0].strategy_weights == own[1].strategy_weights


def test_asking_twice_gives_the_same_query(digits):
    strategy = AutoAL(CANDIDATES)
    rounds(strategy, digits, 3)
    x, y = digits
    labeled = np.arange(60)
    context = Context.of(Outputs(embeddings=x), labeled, y[labeled], n_classes=10)
    one, two = strategy.query(context, 10), strategy.query(replace(context, shared={}), 10)
    np.testing.assert_array_equal(one.indices, two.indices)
    np.testing.assert_array_equal(one.scores, two.scores)


def test_another_pool_starts_it_afresh(digits):
    x, y = digits
    used = AutoAL(CANDIDATES)
    rounds(used, digits, 3)
    other = (np.ascontiguousarray(x[::-1]), y[::-1])
    for mine, fresh in zip(rounds(used, other, 2), rounds(AutoAL(CANDIDATES), other, 2), strict=True):
        np.testing.assert_array_equal(mine.indices, fresh.indices)
        assert mine.strategy_weights == fresh.strategy_weights


def test_another_run_on_the_same_pool_starts_it_afresh(digits):
    used = AutoAL(CANDIDATES)
    rounds(used, digits, 3)
    for mine, fresh in zip(rounds(used, digits, 2, seed=1), rounds(AutoAL(CANDIDATES), digits, 2, seed=1), strict=True):
        np.testing.assert_array_equal(mine.indices, fresh.indices)


def test_beats_random_on_digits(digits):
    x, y = digits
    features = softmax_regression.prepare(torch.from_numpy(x))

    def accuracy(strategy):
        labeled = np.random.default_rng(3).choice(len(x), 20, replace=False)
        for number in range(4):
            context = Context.of(Outputs(embeddings=x), labeled, y[labeled], n_classes=10, seed=number)
            labeled = np.concatenate([labeled, strategy.query(context, 20).indices])
        weight = softmax_regression.fit(features[labeled].double().numpy(), y[labeled], 10)
        rest = np.setdiff1d(np.arange(len(x)), labeled)
        return np.mean(softmax_regression.probabilities(features[rest], weight).argmax(1).numpy() == y[rest])

    assert accuracy(AutoAL()) > accuracy(autoal.strategies.resolve("random")) + 0.02


@pytest.mark.filterwarnings("ignore::autoal.search.candidates.DegenerateCandidateWarning")
class TestUnusualPools:
    def test_one_label(self, digits):
        x, y = digits
        query = autoal.select(Outputs(embeddings=x), 10, AutoAL(), labeled=[3], labels=y[[3]], n_classes=10)
        assert len(set(query.indices) - {3}) == 10

    def test_one_class(self, digits):
        query = autoal.select(Outputs(embeddings=digits[0]), 10, AutoAL(), labeled=[3, 4], labels=[0, 0])
        assert len(query) == 10 and np.isfinite(query.scores).all()

    def test_many_classes(self):
        rng = np.random.default_rng(0)
        centers = 3 * rng.standard_normal((1000, 8))
        y = np.concatenate([np.arange(1000), rng.integers(1000, size=500)])
        x = (centers[y] + 0.1 * rng.standard_normal((1500, 8))).astype(np.float32)
        labeled = rng.choice(1500, 100, replace=False)
        query = autoal.select(
            Outputs(embeddings=x), 20, AutoAL(CANDIDATES), labeled=labeled, labels=y[labeled], n_classes=1000
        )
        assert len(set(y[query.indices]) - set(y[labeled])) >= 15, "it finds classes that have no label yet"

    def test_copies(self, digits):
        x, y = np.repeat(digits[0][:30], 5, axis=0), np.repeat(digits[1][:30], 5)
        query = autoal.select(Outputs(embeddings=x), 25, AutoAL(), labeled=[0, 5], labels=y[[0, 5]], n_classes=10)
        assert len(set(query.indices // 5) - {0, 1}) == 25, "each point once before any copy"

    def test_whole_pool(self, digits):
        x, y = digits[0][:40], digits[1][:40]
        query = autoal.select(Outputs(embeddings=x), 38, AutoAL(), labeled=[1, 2], labels=y[[1, 2]], n_classes=10)
        assert len(set(query.indices)) == 38

    def test_constant_embeddings(self):
        query = autoal.select(Outputs(embeddings=np.ones((9, 1))), 4, AutoAL(), labeled=[0, 1], labels=[0, 1])
        assert len(set(query.indices)) == 4

    def test_two_samples(self):
        query = autoal.select(Outputs(embeddings=np.eye(2)), 1, AutoAL(), labeled=[0], labels=[0], n_classes=2)
        assert query.indices.tolist() == [1]


def test_candidates_of_every_kind(context, pixel):
    query = AutoAL(("margin", pixel, autoal.strategies.resolve("badge"))).query(context, 5)
    assert tuple(query.strategy_weights) == ("margin", "pixel", "badge")


def test_says_what_a_learner_should_give():
    assert set(AutoAL(("margin", "bald", "kmeans")).wants) == {"logits", "mc_logits"}
    assert AutoAL(("kmeans",)).wants == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "papers"}, "Did you mean 'paper'"),
        ({"search": "adaptiv"}, "Did you mean 'adaptive'"),
        ({"variant": "paper", "query": "topp"}, "Did you mean 'top'"),
        ({"query": "top"}, "belong to variant='paper'"),
        ({"backbone": "mlp"}, "belong to variant='paper'"),
        ({"loss_prediction": False}, "belong to variant='paper'"),
        ({"loss_prediction": True}, "belong to variant='paper'"),
        ({"variant": "paper", "search": "prior"}, "belong to variant='coverage'"),
        ({"variant": "paper", "damped": False}, "belong to variant='coverage'"),
        ({"candidates": (AutoAL,)}, "must not hold 'autoal'"),
        ({"candidates": ()}, "at least one"),
        ({"seed": -1}, "seed must be"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        AutoAL(**arguments)


def test_loss_prediction_is_yes_or_no():
    with pytest.raises(TypeError, match="loss_prediction must be True or False, got 'no'"):
        AutoAL(variant="paper", loss_prediction="no")


STAGES = {"inference": ("fit_net", "outputs", "calibration"), "candidates": (), "search": (), "selection": ()}


PARTS = {"fit_net", "outputs", "calibration", "neighbors"}


@pytest.mark.parametrize("options", [{}, {"variant": "paper"}, {"variant": "paper", "query": "top"}])
def test_stages_are_timed_alike_and_add_up(context, options):
    timings = AutoAL(CANDIDATES, **options).query(context, 12).timings
    assert {*STAGES, "total"} <= set(timings) <= {*STAGES, *PARTS, "total"}
    total = sum(timings[stage] for stage in STAGES)
    assert 0.9 * timings["total"] < total <= timings["total"]
    for stage, parts in STAGES.items():
        if options.get("query") != "top" and parts:  # taking the highest asks for no calibration
            assert timings[stage] == pytest.approx(sum(timings[part] for part in parts))


class Told(autoal.strategies.ScoreStrategy):
    """A candidate that reads all outputs; ``told`` counts the samples it was shown."""

    name, needs, told = "told", ("logits", "embeddings", "mc_logits"), 0

    def score(self, context):
        self.told += len(context.unlabeled)
        return context.outputs.logits.amax(1) + context.outputs.mc_logits.mean((0, 2))


class ToldOfSets(autoal.strategies.Strategy):
    """The same, choosing sets."""

    name, needs = "told of sets", ("logits", "embeddings", "mc_logits")

    def pick(self, context, size):
        scores = context.outputs.mc_logits.var((0, 2)).numpy()[context.unlabeled]
        best = np.argsort(-scores, kind="stable")[:size]
        return autoal.strategies.Picks(context.unlabeled[best], scores[best])


@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize("options", [{}, {"search": "none"}, {"variant": "paper"}])
def test_fit_net_is_asked_once_for_each_sample_however_many_candidates_want_it(context, options, parts, monkeypatch):
    features = softmax_regression.prepare(context.outputs.embeddings)
    row_of = {row.tobytes(): number for number, row in enumerate(features.numpy())}
    asked = {"logits": np.zeros(len(context), int), "mc_logits": np.zeros(len(context), int)}
    halves = []  # FitNets that have seen half of the labels: the search's, not the candidates'

    def counted(name, original):
        def call(self, x, *arguments):
            if not any(self is half for half in halves):
                np.add.at(asked[name], [row_of[row.tobytes()] for row in x[:].numpy()], 1)
            return original(self, x, *arguments)

        return call

    def half(*arguments, **keywords):
        net = fitted(*arguments, **keywords)
        if len(arguments[0]) < len(context.labeled):
            halves.append(net)
        return net

    fitted = FitNet.fitted
    for name in asked:
        monkeypatch.setattr(FitNet, name, counted(name, getattr(FitNet, name)))
    monkeypatch.setattr(FitNet, "fitted", staticmethod(half))
    monkeypatch.setattr(candidates, "MC_NUMBERS", 20 * 10 * len(context) // parts)
    told = Told()
    strategy = AutoAL(("entropy", "margin", "bald", "badge", "kmeans", "mean_std", told, ToldOfSets), **options)
    strategy.query(context, 12)
    assert asked["logits"].max() == asked["logits"].min() == 1
    assert (asked["mc_logits"][context.unlabeled] == 1).all()
    assert asked["mc_logits"].max() <= parts + 1, "labeled samples come with each part"
    if options.get("search") == "none":
        assert told.told == len(context.unlabeled)


@pytest.mark.parametrize("scale", [1e16, 1e-9, 1e-15])
def test_the_unit_of_the_embeddings_does_not_matter(context, scale):
    plain = AutoAL(CANDIDATES).query(context, 12)
    scaled = Outputs(embeddings=(context.outputs.embeddings.double() * 2.0 ** round(np.log2(scale))).float())
    again = AutoAL(CANDIDATES).query(replace(context, outputs=scaled, shared={}), 12)
    np.testing.assert_array_equal(again.indices, plain.indices)


def test_embeddings_that_are_all_alike_are_answered(context):
    alike = Outputs(embeddings=torch.full((len(context), 4), 0.1))
    query = AutoAL(CANDIDATES).query(replace(context, outputs=alike, shared={}), 12)
    assert len(set(query.indices.tolist())) == 12 and np.isfinite(query.scores).all()


def test_labels_are_needed(context):
    with pytest.raises(ValueError, match="needs labels"):
        AutoAL().query(replace(context, labels=None), 5)
    with pytest.raises(ValueError, match="needs embeddings"):
        autoal.select(Outputs(logits=np.zeros((5, 2))), 1, AutoAL(), labeled=[0], labels=[0])


def test_a_seed_of_its_own_draws_anew_where_samples_are_pending(context, monkeypatch):
    """A query with constraints is asked again for what is missing, with other draws."""
    seeds = []

    def look(self, seen):
        seeds.append(seen.seed)
        raise LookupError

    monkeypatch.setattr(AutoAL, "_look", look)
    for pending in (0, 0, 3):
        with pytest.raises(LookupError):
            AutoAL(seed=5).pick(replace(context, pending=context.unlabeled[:pending]), 2)
    assert seeds[0] == seeds[1] != seeds[2]
