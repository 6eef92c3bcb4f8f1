"""Coverage greedy of rows that are not held picks as if they were."""

import numpy as np
import pytest
import torch

from autoal import ops
from autoal.ops import DuplicatesWarning
from autoal.ops import coverage_in_parts as module
from autoal.ops.coverage_in_parts import Worth, coverage_in_parts
from autoal.ops.rows import Rows

N, D, TARGETS = 1500, 6, 100


def pool(seed, clusters=40):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((clusters, D))[rng.integers(clusters, size=N)] + 0.3 * rng.standard_normal((N, D))
    x = torch.nn.functional.normalize(torch.from_numpy(x).float(), dim=1)
    weights, gain, covered = torch.from_numpy(rng.random((3, N))).float()
    return x, Worth(weights + 0.01, gain + 0.01, covered / 2, 8.0)


class Spied(Rows):
    """Rows that remember the most that were made at once."""

    most = 0

    def held(self):
        Spied.most = max(Spied.most, len(self))
        return super().held()

    def take(self, which):
        return Spied(self._x, which if self._kept is None else self._kept[which])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("held", [TARGETS + 20, 400])
def test_picks_as_if_all_rows_were_held(seed, held, monkeypatch):
    x, worth = pool(seed)
    want = ops.coverage_greedy(
        x,
        60,
        weights=worth.weights,
        gain=worth.gain,
        covered=worth.covered,
        bandwidth=worth.bandwidth,
        metric="l2",
        targets=TARGETS,
        seed=seed,
        return_gains=True,
    )
    monkeypatch.setattr(module, "HELD", (held + TARGETS) * D)
    Spied.most = 0
    picks, gains = coverage_in_parts(Spied(x), 60, worth, TARGETS, seed)
    assert Spied.most <= held + TARGETS < N
    assert picks.tolist() == want.indices.tolist()
    torch.testing.assert_close(gains, want.gains)


def test_copies_that_add_nothing_are_told(monkeypatch):
    x, worth = pool(0)
    x = x[:5].repeat(N // 5, 1)
    worth = worth._replace(covered=torch.zeros(N))
    monkeypatch.setattr(module, "HELD", 2 * TARGETS * D)
    with pytest.warns(DuplicatesWarning, match="3 of 8 picks have gain 0"):
        picks, gains = coverage_in_parts(Rows(x), 8, worth, TARGETS, 0)
    assert len(set(picks.tolist())) == 8
    assert set((picks[:5] % 5).tolist()) == {0, 1, 2, 3, 4} and (gains[5:] == 0).all()


def test_all_rows_can_be_picked(monkeypatch):
    x, worth = pool(1)
    monkeypatch.setattr(module, "HELD", 2 * TARGETS * D)
    picks, _ = coverage_in_parts(Rows(x[:250]), 250, Worth(*(part[:250] for part in worth[:3]), 8.0), TARGETS, 0)
    assert sorted(picks.tolist()) == list(range(250))
