"""Outputs and Context refuse what does not fit, naming the argument and the fix."""

import numpy as np
import pytest
import torch

from autoal import Context, Outputs, Pool, checks, select


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "at least one of logits"),
        ({"logits": np.zeros((3,), np.float32)}, r"logits must be \[N, C\] float, got \(3,\) float32"),
        ({"logits": np.zeros((3, 2), np.int64)}, r"got \(3, 2\) int64: convert it with .astype"),
        ({"logits": torch.zeros(3, 2, dtype=torch.int64)}, r"convert it with .float"),
        ({"logits": "abc"}, "logits must be"),
        ({"logits": [["a", "b"]]}, "no numeric array"),
        ({"logits": np.zeros((3, 0), np.float32)}, "no empty axis"),
        ({"logits": np.zeros((3, 2)), "embeddings": np.zeros((4, 2))}, r"logits: 3, embeddings: 4"),
        ({"logits": np.zeros((3, 2)), "mc_logits": np.zeros((5, 3, 4))}, "2 classes but mc_logits 4"),
        ({"embeddings": np.array([[0.0, 1], [np.nan, 0]])}, "embeddings holds NaN or Inf in row 1"),
    ],
)
def test_bad_outputs(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Outputs(**arguments)


def test_outputs_share_memory_and_convert_double():
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    assert Outputs(embeddings=x).embeddings.data_ptr() == x.ctypes.data
    assert Outputs(embeddings=x.astype(np.float64)).embeddings.dtype == torch.float32
    assert Outputs(embeddings=x.astype(np.float16)).embeddings.dtype == torch.float16
    assert Outputs(embeddings=x[::-1]).embeddings[0].tolist() == x[-1].tolist()
    assert Outputs(embeddings=x.astype(">f4")).embeddings.tolist() == x.tolist()


def test_read_only_arrays_are_taken_without_a_warning(recwarn):
    x = np.zeros((4, 3), np.float32)
    x.flags.writeable = False
    assert len(Outputs(embeddings=x)) == 4
    assert not recwarn.list


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labeled": [0, 9]}, r"labeled must lie in \[0, 5\), the rows of the pool; got 9"),
        ({"labeled": [-1]}, "got -1"),
        ({"labeled": [1, 1, 2]}, "must not repeat an index; 1 comes 2 times"),
        ({"labeled": [0.5]}, "labeled must be"),
        ({"labeled": np.array([True, False, True, False, True])}, "flatnonzero"),
        ({"labeled": [0, 1], "labels": [0]}, "one label for each of the 2 labeled indices, got 1"),
        ({"labeled": [0], "labels": [3]}, r"labels must lie in \[0, 3\)"),
        ({"labeled": [0], "labels": [-2]}, "class numbers"),
        ({"labeled": [0], "labels": ["cat"]}, "np.unique"),
        ({"seed": -1}, "seed must be"),
        ({"seed": 1.5}, "seed must be an integer"),
        ({"inputs": torch.zeros(4, 2)}, "inputs must have one row for each of the 5"),
    ],
)
def test_bad_context(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Context.of(Outputs(logits=np.zeros((5, 3), np.float32)), **arguments)


def test_context_counts_classes_and_unlabeled():
    outputs = Outputs(embeddings=np.zeros((5, 2), np.float32))
    context = Context.of(outputs, [4, 0], [2, 1])
    assert context.n_classes == 3
    assert context.unlabeled.tolist() == [1, 2, 3]
    assert Context.of(outputs, [4, 0], [2, 1], n_classes=7).n_classes == 7
    with pytest.raises(TypeError, match=r"autoal\.Outputs"):
        Context.of(np.zeros((5, 2)))


def test_draws_depend_on_seed_and_purpose_alone():
    outputs = Outputs(logits=np.zeros((5, 3), np.float32))
    one, two = Context.of(outputs, seed=1), Context.of(outputs, seed=1)
    two.generator("other").random(10)
    assert one.generator("a").random() == two.generator("a").random()
    assert one.generator("a").random() != one.generator("b").random()
    assert one.generator("a").random() != Context.of(outputs, seed=2).generator("a").random()


def test_many_bad_rows_are_counted_not_listed():
    bad = torch.full((50, 2), torch.nan)
    with pytest.raises(ValueError, match=r"rows 0, 1, 2, 3, 4 \(of 50 such rows\)"):
        checks.require_finite(bad, "x")


def test_rows_whose_squares_overflow_are_named():
    x = np.ones((6, 4), np.float32)
    x[[1, 4]] = 1e20
    with pytest.raises(ValueError, match=r"embeddings is too large in rows 1, 4.*scale it down"):
        Outputs(embeddings=x)
    assert len(Pool(x)) == 6, "models center and scale a pool before they take squares"
    x[2, 0] = np.nan
    with pytest.raises(ValueError, match="embeddings holds NaN or Inf in row 2:"):
        Outputs(embeddings=x)


@pytest.mark.parametrize(
    "n_classes, labels, error, message",
    [
        (3.0, [0, 1], TypeError, "n_classes must be an integer"),
        (0, [0, 1], ValueError, "n_classes must be at least 1"),
        (2, [0, 2], ValueError, r"labels must lie in \[0, 2\)"),
    ],
)
def test_numbers_of_classes_that_cannot_be(n_classes, labels, error, message):
    outputs = Outputs(embeddings=np.zeros((5, 2), np.float32))
    with pytest.raises(error, match=message):
        Context.of(outputs, [0, 1], labels, n_classes=n_classes)


def test_the_number_of_classes_is_that_of_the_logits():
    outputs = Outputs(logits=np.zeros((5, 3), np.float32))
    with pytest.raises(ValueError, match="n_classes is 4 but the logits have 3 columns"):
        Context.of(outputs, n_classes=4)


def test_select_refuses_what_only_looks_like_classes_where_it_matters():
    rng = np.random.default_rng(0)
    x, z = rng.standard_normal((30, 4)).astype(np.float32), rng.standard_normal((3, 30, 1)).astype(np.float32)
    with pytest.raises(ValueError, match=r"logits need a column per class.*np\.concatenate"):
        select(Outputs(logits=z[0]), 2, "margin")
    with pytest.raises(ValueError, match="mc_logits need a column per class"):
        select(Outputs(mc_logits=z), 2, "bald")
    assert len(select(Outputs(mc_logits=np.concatenate([0 * z, z], axis=-1)), 2, "bald")) == 2
    assert len(select(Outputs(logits=z[0], embeddings=x), 2, "kcenter")) == 2
    labeled, labels = [1, 2], [0, 2_000_000]
    with pytest.raises(ValueError, match=r"labels go up to 2000000 but only 2 different ones occur.*np\.unique"):
        select(Outputs(embeddings=x), 2, "autoal", labeled=labeled, labels=labels)
    assert len(select(Outputs(embeddings=x), 2, "kcenter", labeled=labeled, labels=labels)) == 2
    assert len(select(Outputs(embeddings=x), 2, "autoal", labeled=labeled, labels=[0, 900])) == 2
