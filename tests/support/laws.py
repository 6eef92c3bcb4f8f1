"""The law of D^2 sampling, enumerated, and the test of draws against it."""

from __future__ import annotations

import numpy as np
from scipy.stats import chisquare


def squared_distances(x):
    """[N, N] of points x [N, D]."""
    x = np.asarray(x, np.float64)
    return np.square(x[:, None] - x[None]).sum(2)


def enumerate_law(d2, first):
    """The law of the first three picks [N, N, N], given that of the first pick [N] and squared distances [N, N]."""
    n = len(first)
    law = np.zeros((n, n, n))
    for i in range(n):
        for j in range(n):
            nearest = np.minimum(d2[i], d2[j])
            law[i, j] = first[i] * d2[i, j] / d2[i].sum() * nearest / nearest.sum()
    return law


def check_law(picks, law):
    """Chi-squared of the marginals and joint frequencies of picks [draws, 3] under ``law`` [N, N, N]."""
    counts = np.zeros_like(law)
    np.add.at(counts, tuple(np.asarray(picks).T), 1)
    for axes in [(1, 2), (0, 2), (0, 1), (2,), (0,), ()]:
        expected, seen = law.sum(axes).ravel() * len(picks), counts.sum(axes).ravel()
        assert (seen[expected == 0] == 0).all(), "something impossible happened"
        possible = expected > 0
        # The whole joint law has small cells: they are put together, so that chi-squared holds.
        rare = possible & (expected < 5)
        likely = possible & ~rare
        expected, seen = (np.append(v[likely], v[rare].sum()) for v in (expected, seen))
        if expected[-1] < 5:
            expected, seen = expected[:-1], seen[:-1]
            expected *= seen.sum() / expected.sum()
        if len(expected) > 1:
            assert chisquare(seen, expected).pvalue > 1e-4, f"summed over picks {axes}"
