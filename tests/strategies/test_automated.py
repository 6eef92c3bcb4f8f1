"""The automated strategies against their papers' formulas, written out with all samples; and what they remember."""

import math

import numpy as np
import pytest
import torch
from regression import prepared, regression
from scipy.special import softmax
from scipy.stats import chisquare

import autoal
from autoal import Context, Outputs
from autoal.strategies import Picks, ScoreStrategy, Strategy
from autoal.strategies.albl import Albl
from autoal.strategies.selectal import SelectAL
from autoal.strategies.tailor import Tailor

N, C, D = 60, 3, 4
LABELED = np.arange(12)


@pytest.fixture(scope="module")
def task():
    rng = np.random.default_rng(0)
    y = rng.integers(C, size=N)
    return ((2 * rng.standard_normal((C, D)))[y] + rng.standard_normal((N, D))).astype(np.float32), y


class Column(ScoreStrategy):
    """The largest value of a column of the embeddings."""

    needs = ("embeddings",)

    def __init__(self, column):
        self.name = f"column {column}"
        self.column = column

    def score(self, context):
        return context.outputs.embeddings[:, self.column]


class Firsts(Strategy):
    """Chooses a set: the lowest indices."""

    name = "firsts"

    def pick(self, context, size):
        return Picks(context.unlabeled[:size], np.zeros(size))


def context_of(task, labeled=LABELED, seed=0):
    return Context.of(Outputs(embeddings=task[0]), labeled, task[1][labeled], n_classes=C, seed=seed)


def best(task, column, labeled=LABELED):
    """The unlabeled samples, the largest value of the column first."""
    rest = np.setdiff1d(np.arange(N), labeled)
    return rest[np.argsort(-task[0][rest, column], kind="stable")]


@pytest.mark.parametrize("make", [Albl, Tailor, SelectAL])
class TestAll:
    def test_picks_are_those_of_candidates(self, task, make):
        query = make((Column(0), Firsts, "random")).query(context_of(task), 8)
        firsts, largest = np.arange(12, 20), best(task, 0)[:8]
        for index, candidate in zip(query.indices, query.provenance["candidate"], strict=True):
            if candidate == "firsts":
                assert index in firsts
            elif candidate == "column 0":
                assert index in largest
        assert set(query.strategy_weights) == {"column 0", "firsts", "random"}
        assert sum(query.strategy_weights.values()) == pytest.approx(1)

    def test_asked_again_without_an_answer_it_asks_the_same(self, task, make):
        strategy = make((Column(0), Column(1), Firsts))
        first = strategy.query(context_of(task), 10)
        more = np.concatenate([LABELED, first.indices])
        for labeled, seed in ((LABELED, 0), (more, 1)):
            one = strategy.query(context_of(task, labeled, seed), 10)
            two = strategy.query(context_of(task, labeled, seed), 10)
            np.testing.assert_array_equal(one.indices, two.indices)
            np.testing.assert_array_equal(one.scores, two.scores)

    def test_remembers_its_rounds_when_the_embeddings_change(self, task, make):
        x, y = task
        strategy = make((Column(0), Column(1)))
        labeled = LABELED
        for number in range(4):
            outputs = Outputs(embeddings=x * (1 + number))
            context = Context.of(outputs, labeled, y[labeled], n_classes=C, seed=number)
            labeled = np.concatenate([labeled, strategy.query(context, 5).indices])
        assert len(set(labeled)) == 32

    def test_other_samples_may_have_been_answered_than_asked_for(self, task, make):
        strategy = make((Column(0), Column(1)))
        strategy.query(context_of(task), 10)
        others = np.arange(20)
        assert not set(strategy.query(context_of(task, others), 10).indices) & set(others)

    def test_runs_in_a_learner(self, task, make):
        oracle = autoal.DataSetOracle(task[1])
        sizes = {"initial_size": 6, "query_size": 5, "budget": 26}
        learners = [autoal.ActiveLearner(task[0], "linear", make(), oracle=oracle, **sizes) for _ in range(2)]
        runs = [learner.run() for learner in learners]
        for one, two in zip(*runs, strict=True):
            np.testing.assert_array_equal(one.query.indices, two.query.indices)

    def test_candidates_that_are_none(self, make):
        with pytest.raises(ValueError, match="unknown strategy 'margni'"):
            make(("margni",))
        with pytest.raises(ValueError, match="comes 2 times"):
            make(("margin", "margin"))
        with pytest.raises(ValueError, match="knows the true labels"):
            make(("boss",))


class TestAlbl:
    HORIZON = 80

    def by_hand(self, task, k_arms, log_w, taken, labeled):
        """p [K], phi [K, N], q [N] from full advice vectors over all samples."""
        p_min = math.sqrt(math.log(k_arms) / (k_arms * self.HORIZON))
        w = np.exp(log_w)
        p = (1 - k_arms * p_min) * w / w.sum() + p_min
        free = np.setdiff1d(np.arange(N), [*labeled, *taken])
        phi = np.zeros((k_arms, N))
        for arm in range(k_arms - 1):
            own = best(task, arm, labeled)
            phi[arm, own[~np.isin(own, taken)][0]] = 1
        phi[-1, free] = 1 / len(free)
        return p_min, p, phi, p @ phi

    def test_two_rounds_of_exp4p_by_hand(self, task):
        strategy = Albl((Column(0), Column(1)), horizon=self.HORIZON)
        assert strategy.candidates.names == ("column 0", "column 1", "random")
        x, y = task
        labeled, asked, q_of = LABELED, [], []
        log_w = np.zeros(3)
        for number in range(3):
            query = strategy.query(context_of(task, labeled, number), 6)
            updates, taken = [], []
            for index, score in zip(query.indices, query.scores, strict=True):
                p_min, p, phi, q = self.by_hand(task, 3, log_w, taken, labeled)
                assert score == pytest.approx(q[index], rel=1e-6)
                updates.append((phi[:, index], q[index]))
                taken.append(index)
                q_of.append(q[index])
            np.testing.assert_allclose([*query.strategy_weights.values()], p, rtol=1e-6)
            labeled = np.concatenate([labeled, query.indices])
            asked.extend(query.indices)
            features = prepared(x)
            predicted = (features @ regression(features[labeled], y[labeled], C)).argmax(axis=1)
            reward = sum((predicted[i] == y[i]) / q for i, q in zip(asked, q_of, strict=True)) / (N * self.HORIZON)
            for advice, q_index in updates:
                bonus = 1 / p * math.sqrt(math.log(3 / 0.1) / (3 * self.HORIZON))
                log_w = log_w + p_min / 2 * (advice * reward / q_index + bonus)
        assert np.ptp(log_w) > 1e-3

    def test_samples_are_drawn_with_the_probability_that_is_told(self, task):
        strategy = Albl((Column(0), Column(1)), horizon=self.HORIZON)
        _, _, _, q = self.by_hand(task, 3, np.zeros(3), [], LABELED)
        hits = np.zeros(N)
        for seed in range(1500):
            hits[strategy.query(context_of(task, seed=seed), 1).indices] += 1
        assert chisquare(hits[q > 0], 1500 * q[q > 0]).pvalue > 1e-4

    def test_the_reward_estimates_the_accuracy_on_the_pool(self, task):
        """Averaged over draws, r T / share of the horizon is the mean of [f(x) = y] over the unlabeled samples."""
        x, y = task
        features = prepared(x)
        unlabeled = np.setdiff1d(np.arange(N), LABELED)
        right = (features @ regression(features[LABELED], y[LABELED], C)).argmax(axis=1) == y
        estimates = []
        for seed in range(400):
            strategy = Albl((Column(0), Column(1)), horizon=1)
            strategy.query(context_of(task, seed=seed), 1)
            (asked,) = strategy._rounds.asked
            estimates.append(right[asked.picks[0]] / asked.q[0] / N)
        error = np.std(estimates) / np.sqrt(len(estimates))
        assert abs(np.mean(estimates) - right[unlabeled].sum() / N) < 4 * error

    def test_horizon(self):
        with pytest.raises(ValueError, match="horizon must be at least 1"):
            Albl(horizon=0)


class TestTailor:
    def test_posterior_by_hand(self, task):
        strategy = Tailor((Column(0), Column(1)), discount=0.5)
        labeled, counts = LABELED, np.zeros((2, C))
        for number in range(4):
            np.testing.assert_allclose(strategy.posterior(context_of(task, labeled)), 1 + counts)
            query = strategy.query(context_of(task, labeled, number), 7)
            counts *= 0.5
            for index, candidate in zip(query.indices, query.provenance["candidate"], strict=True):
                counts[int(candidate[-1]), task[1][index]] += 1
            labeled = np.concatenate([labeled, query.indices])

    def test_candidates_are_followed_as_often_as_thompson_sampling_says(self, task):
        strategy = Tailor((Column(0), Column(1)))
        first = strategy.query(context_of(task), 20)
        labeled = np.concatenate([LABELED, first.indices])
        alpha = strategy.posterior(context_of(task, labeled))
        reward = 1 / np.maximum(1, np.bincount(task[1][labeled], minlength=C))
        rng = np.random.default_rng(5)
        expected = np.stack([rng.dirichlet(row, 100_000) @ reward for row in alpha])
        share = (expected[1] > expected[0]).mean()
        followed = []
        for seed in range(1200):
            followed += [*strategy.query(context_of(task, labeled, seed), 1).provenance["candidate"]]
        assert np.mean(np.array(followed) == "column 1") == pytest.approx(share, abs=4 * 0.5 / math.sqrt(1200))
        assert 0.05 < share < 0.95

    def test_who_finds_rare_classes_is_followed(self):
        """Column 1 is large where a rare class is."""
        rng = np.random.default_rng(0)
        y = (rng.random(600) < 0.2).astype(int)
        x = np.column_stack([1 - y, y, rng.standard_normal(600)]).astype(np.float32)
        labeled = np.arange(100)
        strategy = Tailor((Column(0), Column(1)))
        for number in range(5):
            context = Context.of(Outputs(embeddings=x), labeled, y[labeled], n_classes=2, seed=number)
            query = strategy.query(context, 8)
            labeled = np.concatenate([labeled, query.indices])
        assert query.strategy_weights["column 1"] > 0.8

    @pytest.mark.parametrize("discount", [0, -1, 1.1, np.nan])
    def test_discount(self, discount):
        with pytest.raises(ValueError, match="discount must lie"):
            Tailor(discount=discount)


class TestSelectAL:
    def test_errors_by_hand(self, task):
        strategy = SelectAL((Column(0), Column(1)), repeats=3)
        labeled = np.arange(30)
        got = strategy.errors(context_of(task, labeled))
        features, y = prepared(task[0])[labeled], task[1][labeled]
        rng = context_of(task, labeled).generator("selectal")
        for repeat in range(3):
            order = rng.permutation(30)
            test, pool, kept = order[:6], order[6:12], order[12:]
            for arm in range(2):
                removed = pool[np.argsort(-task[0][labeled[pool], arm], kind="stable")[:3]]
                rows = np.concatenate([kept, np.setdiff1d(pool, removed)])
                p = softmax(features[test] @ regression(features[rows], y[rows], C), axis=1)
                wrong, unsure = (p.argmax(axis=1) != y[test]).mean(), 1 - p[np.arange(6), y[test]].mean()
                assert got[repeat, arm] == pytest.approx(wrong + 1e-6 * unsure, abs=2e-9)

    def test_the_batch_is_that_of_the_candidate_missed_most(self, task):
        strategy = SelectAL((Column(0), Column(1), Firsts))
        labeled = np.arange(30)
        context = context_of(task, labeled)
        query = strategy.query(context, 9)
        arm = int(strategy.errors(context).mean(axis=0).argmax())
        batches = [best(task, 0, labeled)[:9], best(task, 1, labeled)[:9], np.arange(30, 39)]
        np.testing.assert_array_equal(query.indices, batches[arm])
        assert query.strategy_weights == {name: float(k == arm) for k, name in enumerate(strategy.candidates.names)}

    def test_few_labels_are_a_low_budget(self, task):
        query = SelectAL((Column(1), Column(0))).query(context_of(task, np.arange(9)), 5)
        np.testing.assert_array_equal(query.indices, best(task, 1, np.arange(9))[:5])

    def test_who_asks_for_useless_samples_is_not_followed(self):
        """Copies of one sample, and ten classes of two labels each, of which none can be done without."""
        y = np.concatenate([np.zeros(80, int), np.repeat(np.arange(1, 11), 10)])
        x = np.eye(11, dtype=np.float32)[y]
        x = np.column_stack([x[:, 0], 1 - x[:, 0], x]).astype(np.float32)
        labeled = np.concatenate([np.arange(40), 80 + np.flatnonzero(np.arange(100) % 10 < 2)])
        for seed in range(3):
            context = Context.of(Outputs(embeddings=x), labeled, y[labeled], n_classes=11, seed=seed)
            query = SelectAL((Column(0), Column(1)), repeats=20).query(context, 5)
            assert query.strategy_weights == {"column 0": 0.0, "column 1": 1.0}


def test_missing_outputs_are_drawn_from_fit_net(task):
    context = context_of(task)
    asked = Tailor(("margin", "bald")).query(context, 6)
    features = prepared(task[0])
    p = softmax(features @ regression(features[LABELED], task[1][LABELED], C), axis=1)
    p = np.sort(p, axis=1)
    rest = np.setdiff1d(np.arange(N), LABELED)
    margin = rest[np.argsort(p[rest, -1] - p[rest, -2])[:6]]
    of_margin = asked.indices[asked.provenance["candidate"] == "margin"]
    assert set(of_margin) <= set(margin) and len(of_margin)
    assert torch.is_tensor(context.outputs.embeddings)
