"""The calibrated uncertainty beyond what the reference covers."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from autoal.models.softmax_regression import RIDGE
from autoal.ops.rows import Rows
from autoal.search.coverage import laplace


def state(n_classes, n=200, d=7, labeled=60):
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((n, d))).float()
    return x, rng.standard_normal((d, n_classes)), x[:labeled]


def uncertainty(x, weight, x_labeled):
    return laplace.laplace_uncertainty(Rows(x), Rows(x @ torch.from_numpy(weight).float()), weight, x_labeled)


def test_two_leading_classes_stand_for_many(monkeypatch):
    """The other classes' v are not computed; u then moves by little, and by nothing with two classes."""
    for n_classes, most in ((40, 0.02), (2, 1e-6)):
        x, weight, x_labeled = state(n_classes)
        monkeypatch.setattr(laplace, "ALL_CLASSES_UP_TO", 100)
        exact = uncertainty(x, weight, x_labeled)
        monkeypatch.setattr(laplace, "ALL_CLASSES_UP_TO", 1)
        assert (uncertainty(x, weight, x_labeled) - exact).abs().max() < most


@pytest.mark.parametrize("n_classes", [3, 40])
@pytest.mark.parametrize("labeled", [5, 7, 60])  # fewer than dimensions, as many, more
def test_uncertainty_is_that_of_the_definition(n_classes, labeled, monkeypatch):
    monkeypatch.setattr(laplace, "FACTOR_NUMBERS", 100)  # some classes at a time
    monkeypatch.setattr(laplace, "part_rows", lambda width: 64)
    x, weight, x_labeled = state(n_classes, labeled=labeled)
    a, b, z = x.double().numpy(), x_labeled.double().numpy(), x.double().numpy() @ weight
    p = softmax(b @ weight, axis=1)
    v = np.empty_like(z)
    for c in range(n_classes):
        inverse = np.linalg.inv((b * (p[:, c] * (1 - p[:, c]))[:, None]).T @ b + RIDGE * np.eye(a.shape[1]))
        v[:, c] = ((a @ inverse) * a).sum(axis=1)
    if n_classes > laplace.ALL_CLASSES_UP_TO:  # all but the two leading ones have the mean of these
        leading = np.argsort(-z, axis=1)[:, :2]
        of_leading = np.take_along_axis(v, leading, axis=1)
        v[:] = of_leading.mean(axis=1, keepdims=True)
        np.put_along_axis(v, leading, of_leading, axis=1)
    ordered = np.sort(softmax(z / np.sqrt(1 + np.pi / 8 * v), axis=1), axis=1)
    np.testing.assert_allclose(
        uncertainty(x, weight, x_labeled).numpy(), 1 - ordered[:, -1] + ordered[:, -2], atol=2e-6
    )


def test_labels_reduce_it():
    x, weight, x_labeled = state(5)
    few = uncertainty(x, weight, x_labeled[:5])
    many = uncertainty(x, weight, x_labeled.repeat(50, 1))
    assert (few > many).all()


def test_one_class():
    x, weight, x_labeled = state(1)
    assert uncertainty(x, weight, x_labeled).tolist() == pytest.approx([1e-6] * len(x))
