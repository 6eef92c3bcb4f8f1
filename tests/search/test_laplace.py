"""The calibrated uncertainty beyond what the reference covers."""

import numpy as np
import pytest
import torch

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


def test_labels_reduce_it():
    x, weight, x_labeled = state(5)
    few = uncertainty(x, weight, x_labeled[:5])
    many = uncertainty(x, weight, x_labeled.repeat(50, 1))
    assert (few > many).all()


def test_one_class():
    x, weight, x_labeled = state(1)
    assert uncertainty(x, weight, x_labeled).tolist() == pytest.approx([1e-6] * len(x))
