"""The round: paired initial sets, ask and tell, budgets, errors that lose nothing."""

import time

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import autoal
from autoal import ActiveLearner, DataSetOracle, NoisyOracle, Pool


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return x[:400].astype(np.float32), y[:400]


def learner(digits, **changes):
    x, y = digits
    arguments = {"strategy": "margin", "oracle": DataSetOracle(y), "initial_size": 20, "query_size": 15, "budget": 70}
    return ActiveLearner(x, "linear", **(arguments | changes))


def test_run_spends_the_budget_exactly(digits):
    seen = []
    done = learner(digits).run(callback=lambda r: seen.append(r.number))
    assert [r.labeled for r in done] == [20, 35, 50, 65, 70]
    assert seen == [0, 1, 2, 3, 4]
    picked = np.concatenate([r.query.indices for r in done])
    assert len(set(picked)) == 70
    assert all(r.fit_seconds > 0 for r in done)


def test_margin_learns_more_than_nothing(digits):
    one = learner(digits)
    one.run()
    x, y = digits
    assert np.mean(one.model.predict(torch.from_numpy(x)) == y) > 0.8


@pytest.mark.parametrize("strategy", ["margin", "autoal"])
def test_the_task_models_inference_is_part_of_the_times(digits, strategy):
    one = learner(digits, strategy=strategy)
    first = one.ask()
    one.tell(first.indices, one.oracle(first.indices))
    model = one.model.outputs

    def slow(*arguments, **keywords):
        time.sleep(0.2)
        return model(*arguments, **keywords)

    one.model.outputs = slow
    timings = one.ask().timings
    own = sum(timings.get(part, 0) for part in ("fit_net", "outputs", "calibration"))
    assert timings["inference"] >= 0.2 + own
    stages = ("inference", "candidates", "search", "selection")
    assert timings["total"] >= sum(timings.get(stage, 0) for stage in stages)


def test_initial_sample_depends_on_the_seed_alone(digits):
    margin, entropy = (learner(digits, strategy=s, seed=7).ask().indices for s in ("margin", "entropy"))
    np.testing.assert_array_equal(margin, entropy)
    assert set(margin) != set(learner(digits, seed=8).ask().indices)


def test_ask_and_tell_equals_run(digits):
    by_run = learner(digits)
    by_run.run()
    by_hand = learner(digits, oracle=None, n_classes=10)
    while by_hand.remaining:
        query = by_hand.ask()
        assert by_hand.ask() is query, "asking twice gives the same query"
        by_hand.tell(query.indices, digits[1][query.indices])
    np.testing.assert_array_equal(by_run.pool.labeled, by_hand.pool.labeled)
    with pytest.raises(ValueError, match=r"budget of 70 labels is spent"):
        by_hand.ask()


def test_answers_may_be_few_or_unasked(digits):
    one = learner(digits)
    query = one.ask()
    few = query.indices[:5]
    assert one.tell(few, digits[1][few]).query.indices.tolist() == few.tolist(), "what was answered is on record"
    assert sorted(one.ask().indices) == sorted(query.indices[5:]), "the rest of the initial sample is asked for again"
    other = np.setdiff1d(np.arange(400), query.indices)[:3]
    done = one.tell(other, digits[1][other])
    assert done.query.indices.tolist() == other.tolist() and done.labeled == 8 and not done.query.scores.any()
    rest = one.ask().indices
    assert sorted(rest) == sorted(query.indices[5:])
    one.tell(rest[::-1], digits[1][rest[::-1]])
    query = one.ask()
    assert len(query) == 15 and query.scores.any() and not set(query.indices) & set(one.pool.labeled)


def test_labels_may_come_through_the_pool(digits):
    one = learner(digits)
    query = one.ask()
    one.tell(query.indices[:5], digits[1][query.indices[:5]])
    one.pool.label(query.indices[5:8], digits[1][query.indices[5:8]])
    assert sorted(one.ask().indices) == sorted(query.indices[8:])


def test_no_answer_is_refused_and_the_question_stands(digits):
    one = learner(digits)
    query = one.ask()
    with pytest.raises(ValueError, match="indices must hold at least one sample"):
        one.tell([], [])
    assert one.ask() is query and not one.rounds


def test_a_pool_with_labels_is_learned_from_at_once(digits):
    x, y = digits
    start = learner(digits).ask().indices
    by_learner = learner(digits)
    by_learner.tell(start, y[start])
    pool = Pool(x)
    pool.label(start, y[start])
    brought = ActiveLearner(pool, "linear", "margin", n_classes=10, initial_size=20, query_size=15, budget=70)
    query = brought.ask()
    assert len(query) == 15 and not set(query.indices) & set(start)
    np.testing.assert_array_equal(query.indices, by_learner.ask().indices)
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 3\), the classes"):
        ActiveLearner(pool, n_classes=3, initial_size=20, budget=70)


@pytest.mark.parametrize(
    ("indices", "labels", "message"),
    [
        ([0, 0], [1, 1], "must not repeat"),
        ([0, 400], [1, 1], r"must lie in \[0, 400\)"),
        ([0, 1], [1], "one label for each"),
        ([0, 1], [1, -1], "class numbers"),
        ([0, 1], [1, 10], r"labels must lie in \[0, 10\)"),
        ([0.0, 1.0], [1, 1], "indices must be"),
        ([0, 1], ["cat", "dog"], "class names"),
    ],
)
def test_wrong_answers_are_refused_and_nothing_is_lost(digits, indices, labels, message):
    one = learner(digits)
    one.tell([3, 4], [1, 2])
    with pytest.raises((ValueError, TypeError), match=message):
        one.tell(indices, labels)
    assert one.pool.labeled.tolist() == [3, 4] and one.pool.labels.tolist() == [1, 2]
    with pytest.raises(ValueError, match="3 has a label already"):
        one.tell([5, 3], [0, 0])
    assert one.pool.labeled.tolist() == [3, 4]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"initial_size": 0}, "initial_size must be between 1 and 400"),
        ({"initial_size": 401}, "initial_size must be between 1 and 400"),
        ({"query_size": 0}, "query_size must be at least 1"),
        ({"budget": 10}, "budget must be between 20 and 400"),
        ({"budget": 1000}, "budget must be between 20 and 400"),
        ({"oracle": None}, "n_classes must be given"),
        ({"seed": -1}, "seed must be"),
        ({"strategy": "margni"}, "Did you mean 'margin'"),
        ({"query_size": 2.5}, "query_size must be an integer"),
    ],
)
def test_bad_arguments(digits, changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        learner(digits, **changes)


def test_run_without_an_oracle(digits):
    with pytest.raises(ValueError, match="run needs oracle"):
        learner(digits, oracle=None, n_classes=10).run()


def test_pool_refuses_what_is_no_pool():
    for bad, message in [
        (np.zeros((0, 3), np.float32), "at least one sample"),
        (np.zeros(5, np.float32), r"got \(5,\) float32"),
        (np.zeros((5, 3), np.int64), "astype"),
        (np.array([[1.0, np.nan], [0, 0], [np.inf, 0]], np.float32), "rows 0, 2"),
        (np.zeros((5, 3), np.uint8), "images"),
        (object(), "x must be"),
    ]:
        with pytest.raises((ValueError, TypeError), match=message):
            Pool(bad)


def test_noisy_oracle_is_wrong_at_its_rate_and_always_the_same():
    y = np.arange(5000) % 5
    oracle = NoisyOracle(y, 0.1, seed=1)
    answers = oracle(np.arange(5000))
    assert 0.08 < np.mean(answers != y) < 0.12
    assert set(answers) == set(range(5))
    np.testing.assert_array_equal(answers, NoisyOracle(y, 0.1, seed=1)(np.arange(5000)))
    np.testing.assert_array_equal(NoisyOracle(y, 0.0)(np.arange(5000)), y)
    assert (NoisyOracle(y, 1.0)(np.arange(5000)) != y).all()
    with pytest.raises(ValueError, match="rate"):
        NoisyOracle(y, 1.5)


def test_public_names():
    for name in autoal.__all__:
        assert getattr(autoal, name) is not None
    with pytest.raises(AttributeError):
        autoal.no_such_name  # noqa: B018


def test_constraints_hold_in_every_query_the_initial_sample_included(digits):
    groups = np.arange(400) // 50
    rules = autoal.Constraints(excluded=range(40), pending=[60, 61], groups=groups, quota=3, min_distance=1e-4)
    one = learner(digits, initial_size=15, budget=45, constraints=rules)
    for number in range(3):
        query = one.ask()
        assert len(query) == 15 and query is one.ask()
        assert not set(query.indices) & {*range(40), 60, 61}
        assert np.unique(groups[query.indices], return_counts=True)[1].max() <= 3
        one.tell(query.indices, digits[1][query.indices])
        assert ("ask" in query.provenance) == (number > 0)


def test_constraints_may_change_between_queries(digits):
    one = learner(digits, constraints=autoal.Constraints(pending=[5]))
    one.tell(first := one.ask().indices, digits[1][first])
    sent = one.ask().indices
    one.tell(sent[:5], digits[1][sent[:5]])
    one.constraints = autoal.Constraints(pending=sent)  # of which some are labeled by now
    again = one.ask().indices
    assert not set(again) & {*sent, *first}


def test_constraints_that_leave_too_little(digits):
    with pytest.raises(ValueError, match="budget must be between 20 and 60, the samples that are not excluded; got 70"):
        learner(digits, constraints=autoal.Constraints(excluded=range(340)))
    with pytest.raises(TypeError, match=r"constraints must be autoal\.Constraints"):
        learner(digits, constraints={"excluded": [1]})
    one = learner(digits, constraints=autoal.Constraints(groups=np.arange(400) % 4, quota=1))
    with pytest.warns(autoal.ShortQueryWarning, match="holds 4 of 20 samples, .*: quota rules out 396"):
        assert len(one.ask()) == 4
    one = learner(digits, constraints=autoal.Constraints(costs=np.full(400, 2.0), cost_budget=1))
    with pytest.raises(ValueError, match="no sample may be asked: cost_budget rules out 400"):
        one.ask()
