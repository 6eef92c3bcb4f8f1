"""The coverage variant on inputs that are unusual, small or broken: it answers, or says what is wrong."""

import numpy as np
import pytest
import torch

import autoal
from autoal import AutoAL, Outputs, ops
from autoal.strategies import ScoreStrategy

CANDIDATES = ("entropy", "margin", "kmeans")
N, CLASSES = 120, 4


@pytest.fixture(scope="module")
def pool():
    """x [120, 8] float32 and y [120]."""
    rng = np.random.default_rng(0)
    y = rng.integers(CLASSES, size=N)
    return (2 * rng.standard_normal((CLASSES, 8))[y] + rng.standard_normal((N, 8))).astype(np.float32), y


def ask(x, y, labeled=range(12), size=6, strategy=None, seed=0, **options):
    """A query, checked for what holds of all."""
    labeled = np.asarray(labeled)
    strategy = strategy or AutoAL(CANDIDATES, **options)
    query = autoal.select(Outputs(embeddings=x), size, strategy, labeled=labeled, labels=y[labeled], seed=seed)
    assert len(set(query.indices.tolist())) == size and not np.isin(query.indices, labeled).any()
    assert np.isfinite(query.scores).all() and all(np.isfinite(column).all() for column in query.provenance.values())
    assert sum(query.strategy_weights.values()) == pytest.approx(1)
    return query


@pytest.mark.parametrize("convert", [torch.Tensor.double, torch.Tensor.half, torch.Tensor.bfloat16])
def test_any_float(pool, convert):
    """Whole numbers are the same in all of them."""
    x, y = torch.from_numpy(pool[0]).round(), pool[1]
    np.testing.assert_array_equal(ask(convert(x), y).indices, ask(x, y).indices)


def test_memory_that_may_not_be_written_to(pool, tmp_path):
    x, y = pool
    x.tofile(tmp_path / "x")
    for frozen in (np.memmap(tmp_path / "x", np.float32, "r", shape=x.shape), np.asfortranarray(x), x[::-1][::-1]):
        frozen.flags.writeable = False
        np.testing.assert_array_equal(ask(frozen, y).indices, ask(x, y).indices)


def test_far_off_the_origin(pool):
    x, y = np.round(pool[0] * 64) / 64, pool[1]
    np.testing.assert_array_equal(ask(x + np.float32(1e4), y).indices, ask(x, y).indices)


@pytest.mark.parametrize("factor", [1e-20, 1e16])
def test_any_unit(pool, factor):
    x, y = pool
    scaled = (x.astype(np.float64) * 2.0 ** round(np.log2(factor))).astype(np.float32)
    np.testing.assert_array_equal(ask(scaled, y).indices, ask(x, y).indices)


def test_numbers_whose_squares_overflow_are_named(pool):
    with pytest.raises(ValueError, match="embeddings is too large in rows 0, 1"):
        ask(pool[0].astype(np.float64) * 1e20, pool[1])


@pytest.mark.parametrize("width", [1, 500])
def test_narrow_and_wide(pool, width):
    x = np.random.default_rng(1).standard_normal((N, width)).astype(np.float32) + pool[1][:, None]
    ask(x, pool[1])


def test_classes_with_gaps_between_their_numbers(pool):
    ask(pool[0], np.array([0, 7, 19, 300])[pool[1]])


@pytest.mark.parametrize("labeled", [N - 1, N - 2])
def test_nearly_all_labeled(pool, labeled):
    ask(*pool, labeled=np.random.default_rng(0).permutation(N)[:labeled], size=1)


@pytest.mark.parametrize("search", ["none", "prior", "adaptive"])
def test_rounds_of_one_object_while_embeddings_change(pool, search):
    x, y = pool
    strategy, labeled = AutoAL(CANDIDATES, search=search), np.arange(12)
    for number, seen in enumerate((x, x, x[:, ::-1].copy(), x[:, :5].copy(), x)):
        labeled = np.concatenate([labeled, ask(seen, y, labeled, 6, strategy, number).indices])
    assert len(labeled) == 42


@pytest.mark.parametrize("search", ["prior", "adaptive"])
def test_threads_change_nothing(pool, search):
    x = np.tile(pool[0], (10, 1)) + np.random.default_rng(2).standard_normal((10 * N, 8), np.float32)
    y = np.tile(pool[1], 10)
    before, answers = (torch.get_num_threads(), ops.backends()["cpu"]["threads"]), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            ops.set_num_threads(threads)
            answers.append(ask(x, y, range(40), 20, search=search))
    finally:
        torch.set_num_threads(before[0])
        ops.set_num_threads(before[1])
    np.testing.assert_array_equal(answers[0].indices, answers[1].indices)
    np.testing.assert_array_equal(answers[0].scores, answers[1].scores)


class Odd(ScoreStrategy):
    """A candidate of a user's own that scores all samples alike but for some."""

    name = "odd"
    needs = ("embeddings",)

    def __init__(self, value):
        self.value = value

    def score(self, context):
        if self.value is None:
            raise RuntimeError("trouble of its own")
        scores = torch.zeros(len(context))
        scores[::5] = self.value
        return scores


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, 1e38])
def test_candidates_may_be_very_sure(pool, value):
    ask(*pool, strategy=AutoAL(("margin", Odd(value))))


def test_broken_candidates_are_not_passed_over(pool):
    with pytest.raises(ValueError, match="'odd' gives NaN scores"):
        ask(*pool, strategy=AutoAL(("margin", Odd(torch.nan))))
    with pytest.raises(RuntimeError, match="trouble of its own"):
        ask(*pool, strategy=AutoAL(("margin", Odd(None))))
