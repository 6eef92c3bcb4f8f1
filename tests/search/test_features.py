"""A pool's features are kept as long as its embeddings are the same to the bit, and not a moment longer."""

import pytest
import torch

from autoal.search import features as module
from autoal.search.features import Features


def pool(n=50, d=6):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0))


def test_equal_embeddings_match_wherever_they_lie():
    x = pool()
    features = Features(x)
    assert features.matches(x) and features.matches(x.clone())
    assert features.matches(x.T.contiguous().T), "whatever the order of their bytes in memory"
    assert features.matches(x.double())


@pytest.mark.parametrize("row", [0, 20, 49])
def test_one_number_that_changes_in_place_is_seen(row, monkeypatch):
    monkeypatch.setattr(module, "part_rows", lambda width: 20)
    x = pool()
    features = Features(x)
    x[row, 3] = torch.nextafter(x[row, 3], torch.tensor(torch.inf))
    assert not features.matches(x)


def test_other_pools_do_not_match():
    x = pool()
    features = Features(x)
    assert not features.matches(x[:-1])
    assert not features.matches(x.flip(0))
    assert not features.matches(x.view(100, 3)), "the same bytes in another shape"


def test_nothing_is_prepared_to_compare(monkeypatch):
    x = pool()
    features = Features(x)
    monkeypatch.setattr(module, "centering", None)  # would fail if called
    assert features.matches(x)
