"""What every strategy must do, whatever it is: new entries of STRATEGIES are tested here unasked."""

import warnings

import numpy as np
import pytest
import torch

import autoal
from autoal import Context, Outputs
from autoal.strategies import STRATEGIES, ScoreStrategy, Strategy

N, C, D, T = 120, 4, 6, 5


def make_outputs(n=N, seed=0, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    centers = 3 * torch.randn(C, D, generator=g)
    y = torch.randint(C, (n,), generator=g)
    embeddings = centers[y] + torch.randn(n, D, generator=g)
    weight = torch.randn(D, C, generator=g)
    logits = embeddings @ weight
    mc_logits = logits + torch.randn(T, n, C, generator=g)
    outputs = Outputs(logits=logits.to(dtype), embeddings=embeddings.to(dtype), mc_logits=mc_logits.to(dtype))
    return outputs, y.numpy()


@pytest.fixture(scope="module")
def task():
    outputs, y = make_outputs()
    labeled = np.random.default_rng(1).choice(N, 20, replace=False)
    return outputs, labeled, y[labeled]


def ask(name, task, size=10, seed=3, **changes):
    outputs, labeled, labels = task
    arguments = {"labeled": labeled, "labels": labels, "seed": seed} | changes
    return autoal.select(arguments.pop("outputs", outputs), size, strategy=name, **arguments)


@pytest.mark.parametrize("name", STRATEGIES)
class TestEveryStrategy:
    def test_describes_itself(self, name):
        strategy = STRATEGIES[name]
        assert strategy.name == name
        assert strategy.reference and strategy.__doc__
        assert set(strategy.needs) <= {"logits", "embeddings", "mc_logits", "labels"}

    @pytest.mark.parametrize("size", [1, 10, N - 20])
    def test_asks_for_unlabeled_samples_of_the_full_pool(self, name, task, size):
        query = ask(name, task, size)
        assert query.indices.dtype == np.int64 and query.indices.shape == (size,)
        assert query.scores.dtype == np.float32 and query.scores.shape == (size,)
        assert np.isfinite(query.scores).all()
        assert len(set(query.indices)) == size
        assert not set(query.indices) & set(task[1])
        assert query.indices.min() >= 0 and query.indices.max() < N
        assert all(len(column) == size for column in query.provenance.values())
        assert query.timings["total"] > 0

    def test_same_seed_same_query(self, name, task):
        first, second = ask(name, task), ask(name, task)
        np.testing.assert_array_equal(first.indices, second.indices)
        np.testing.assert_array_equal(first.scores, second.scores)

    def test_global_random_state_is_neither_read_nor_moved(self, name, task):
        torch.manual_seed(0)
        np.random.seed(0)
        before = torch.get_rng_state(), np.random.get_state()[1].copy()
        first = ask(name, task)
        assert torch.equal(torch.get_rng_state(), before[0])
        np.testing.assert_array_equal(np.random.get_state()[1], before[1])
        torch.manual_seed(1)
        np.testing.assert_array_equal(first.indices, ask(name, task).indices)

    def test_order_of_the_labels_does_not_matter_to_what_is_excluded(self, name, task):
        outputs, labeled, labels = task
        query = ask(name, (outputs, labeled[::-1].copy(), labels[::-1].copy()))
        assert not set(query.indices) & set(labeled)

    def test_one_unlabeled_sample_left(self, name, task):
        outputs, y = make_outputs()
        labeled = np.delete(np.arange(N), 17)
        assert ask(name, (outputs, labeled, y[labeled]), 1).indices.tolist() == [17]

    def test_one_labeled_sample(self, name, task):
        outputs, y = make_outputs()
        query = ask(name, (outputs, np.array([5]), y[[5]]))
        assert 5 not in query.indices

    @pytest.mark.parametrize("of", [[2], [0, 2]])
    def test_labels_of_some_classes_only(self, name, of, task):
        outputs, y = make_outputs()
        labeled = np.concatenate([np.flatnonzero(y == c)[:2] for c in of])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            query = ask(name, (outputs, labeled, y[labeled]))
        assert len(query) == 10 and np.isfinite(query.scores).all()

    @pytest.mark.parametrize("scale", [1e-20, 1e15])
    def test_embeddings_in_any_unit(self, name, scale, task):
        """Where distances shorter than 1e-19 count as none, any picks will do, but an answer there is."""
        outputs, labeled, labels = task
        scaled = Outputs(outputs.logits, outputs.embeddings * scale, outputs.mc_logits)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            query = ask(name, (scaled, labeled, labels))
        assert len(query) == 10 and np.isfinite(query.scores).all()

    @pytest.mark.parametrize("power", [-24, 24])
    def test_the_unit_of_embeddings_does_not_matter(self, name, power, task):
        """But to bait, whose ridge is in this unit; powers of two round nothing."""
        if name == "bait":
            pytest.skip("its ridge has a unit")
        outputs, labeled, labels = task
        scaled = Outputs(outputs.logits, outputs.embeddings * 2.0**power, outputs.mc_logits)
        np.testing.assert_array_equal(ask(name, (scaled, labeled, labels)).indices, ask(name, task).indices)

    def test_memory_mapped_embeddings(self, name, task, tmp_path):
        outputs, labeled, labels = task
        np.save(tmp_path / "x.npy", outputs.embeddings.numpy())
        mapped = Outputs(outputs.logits, np.load(tmp_path / "x.npy", mmap_mode="r"), outputs.mc_logits)
        np.testing.assert_array_equal(ask(name, (mapped, labeled, labels)).indices, ask(name, task).indices)

    def test_duplicated_pool(self, name, task):
        outputs, y = make_outputs(30)
        doubled = Outputs(
            outputs.logits.repeat(4, 1), outputs.embeddings.repeat(4, 1), outputs.mc_logits.repeat(1, 4, 1)
        )
        labeled = np.arange(10)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            query = ask(name, (doubled, labeled, y[labeled]), 40)
        assert len(set(query.indices)) == 40

    def test_constant_outputs(self, name, task):
        same = Outputs(torch.zeros(40, C), torch.ones(40, D), torch.zeros(T, 40, C))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            query = ask(name, (same, np.array([0, 1]), np.array([0, 1])), 7)
        assert len(set(query.indices)) == 7

    def test_half_precision(self, name, task):
        outputs, _ = make_outputs(dtype=torch.float16)
        assert len(ask(name, (outputs, task[1], task[2]))) == 10

    def test_numpy_outputs(self, name, task):
        outputs = Outputs(*(getattr(task[0], part).numpy() for part in ("logits", "embeddings", "mc_logits")))
        np.testing.assert_array_equal(ask(name, (outputs, *task[1:])).indices, ask(name, task).indices)

    def test_outputs_are_not_written_to(self, name, task):
        copies = [getattr(task[0], part).clone() for part in ("logits", "embeddings", "mc_logits")]
        ask(name, task)
        for part, copy in zip(("logits", "embeddings", "mc_logits"), copies, strict=True):
            assert torch.equal(getattr(task[0], part), copy)

    def test_missing_output_is_named(self, name, task):
        for need in STRATEGIES[name].needs:
            if need == "labels":
                with pytest.raises(ValueError, match="needs labels"):
                    ask(name, task, labels=None)
                continue
            others = {part: getattr(task[0], part) for part in ("logits", "embeddings", "mc_logits") if part != need}
            with pytest.raises(ValueError, match=f"needs {need}"):
                ask(name, task, outputs=Outputs(**others))

    @pytest.mark.parametrize("size", [0, -1, N - 19, 10_000])
    def test_impossible_size(self, name, task, size):
        with pytest.raises(ValueError, match="size must be between 1 and 100"):
            ask(name, task, size)

    def test_nothing_left(self, name, task):
        outputs, y = make_outputs()
        with pytest.raises(ValueError, match="no unlabeled sample left"):
            ask(name, (outputs, np.arange(N), y), 1)


class Farthest(ScoreStrategy):
    """A user's own: the largest first coordinate."""

    needs = ("embeddings",)

    def score(self, context: Context) -> torch.Tensor:
        return context.outputs.embeddings[:, 0]


def test_own_class_is_taken_where_a_name_is(task):
    want = task[0].embeddings[:, 0].clone()
    want[task[1]] = -torch.inf
    for strategy in (Farthest, Farthest()):
        assert ask(strategy, task, 1).indices.tolist() == [int(want.argmax())]


def test_own_class_that_breaks_the_contract_is_told(task):
    class Repeats(Strategy):
        def pick(self, context, size):
            return autoal.strategies.Picks(np.full(size, context.unlabeled[0]), np.zeros(size))

    class Labeled(Strategy):
        def pick(self, context, size):
            return autoal.strategies.Picks(context.labeled[:size], np.zeros(size))

    for broken in (Repeats, Labeled):
        with pytest.raises(RuntimeError, match="different unlabeled"):
            ask(broken, task, 2)


@pytest.mark.parametrize(
    "give, error, message",
    [
        (lambda n: torch.full((n,), torch.nan), ValueError, "NaN scores"),
        (lambda n: torch.zeros(n - 1), ValueError, "must score"),
        (lambda n: torch.zeros(n, 2), ValueError, "must score"),
        (lambda n: ["high"] * n, TypeError, "float scores"),
        (lambda n: [[1.0]] + [[1.0, 2.0]] * (n - 1), TypeError, "float scores"),
        (lambda n: torch.ones(n, dtype=torch.bool), TypeError, "float scores"),
        (lambda n: torch.ones(n, dtype=torch.complex64), TypeError, "float scores"),
    ],
)
def test_own_scores_that_break_the_contract_are_told(task, give, error, message):
    class Broken(ScoreStrategy):
        def score(self, context):
            return give(len(context))

    for strategy in (Broken, autoal.AutoAL(("margin", Broken))):
        with pytest.raises(error, match=f"strategy 'Broken' .*{message}"):
            ask(strategy, task, 2)


def test_own_scores_may_be_numpy_and_faulty_where_there_is_a_label(task):
    class Numbers(ScoreStrategy):
        def score(self, context):
            scores = np.arange(len(context))[::-1].astype(float)
            scores[context.labeled] = np.nan
            return scores

    unlabeled = np.setdiff1d(np.arange(N), task[1])
    assert ask(Numbers, task, 3).indices.tolist() == unlabeled[:3].tolist()


def test_unknown_names_suggest_the_nearest(task):
    with pytest.raises(ValueError, match="Did you mean 'entropy'"):
        ask("entropi", task)
    with pytest.raises(TypeError, match="strategy must be"):
        ask(3, task)
