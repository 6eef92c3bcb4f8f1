"""What is live, and the draws that all backends share."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from autoal import ops
from autoal.ops import reference


def test_what_is_live():
    live = ops.backends()
    assert set(live) == {"cpu", "cuda", "faiss"}
    assert live["cpu"]["isa"] in live["cpu"]["isas"] and live["cpu"]["threads"] >= 1
    assert live["cuda"]["live"] == (live["cuda"]["reason"] is None) == bool(live["cuda"]["devices"])
    assert live["faiss"]["live"] == (live["faiss"]["reason"] is None) == bool(live["faiss"]["version"])


def test_threads():
    before = ops.backends()["cpu"]["threads"]
    try:
        ops.set_num_threads(2)
        assert ops.backends()["cpu"]["threads"] == 2
    finally:
        ops.set_num_threads(before)
    with pytest.raises(ValueError, match="n must be at least 1; got 0"):
        ops.set_num_threads(0)
    with pytest.raises(TypeError, match="n must be an integer"):
        ops.set_num_threads(1.5)


def test_draws_are_those_of_the_published_splitmix64():
    # First outputs of SplitMix64 from state 1234567 (Vigna's splitmix64.c).
    state, outputs = 1234567, []
    for j in range(5):
        outputs.append(reference._mix64((state + reference.GOLDEN * (j + 1)) & reference.MASK))
    assert outputs == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_draws_are_uniform_over_counters_and_seeds():
    for draws in ([reference.uniform(5, j) for j in range(10_000)], [reference.uniform(s, 0) for s in range(10_000)]):
        assert min(draws) >= 0 and max(draws) < 1
        assert chisquare(np.histogram(draws, 50, (0, 1))[0]).pvalue > 1e-4
    assert reference.uniform(2**63 - 1, 2**40) != reference.uniform(2**63 - 1, 2**40 + 1)
