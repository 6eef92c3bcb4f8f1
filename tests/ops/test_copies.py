"""copies: rows that are equal, by their numbers, and what chance in the hashes does to them."""

from __future__ import annotations

import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autoal.ops.rows import Rows

COPIES = sys.modules["autoal.ops.copies"]


def lowest(x):
    """Positions [N] by all pairs."""
    return [int((x == row).all(1).nonzero()[0]) for row in x]


@given(
    n=st.integers(0, 40), d=st.integers(1, 3), high=st.integers(0, 2), most=st.integers(1, 4), seed=st.integers(0, 99)
)
def test_all_pairs(n, d, high, most, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(-high, high + 1, (n, d), generator=g) * (torch.randint(0, 2, (n, d), generator=g) - 0.5)  # -0 too
    first = lowest(x)
    assert COPIES.firsts(Rows(x)).tolist() == first
    kept = [i for i in range(n) if first[:i].count(first[i]) < most]
    assert COPIES.few_of_each(Rows(x), most).tolist() == kept


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_parts_and_a_choice_of_rows(dtype, device, monkeypatch):
    monkeypatch.setattr(COPIES, "NUMBERS", 7 * 3)  # parts of 7 rows
    x = torch.randn(40, 3).to(dtype).repeat(3, 1).to(device)
    assert COPIES.firsts(Rows(x)).tolist() == [*range(40)] * 3
    assert COPIES.firsts(Rows(x, torch.arange(30, 90, device=device))).tolist() == [*range(40), *range(20)]


def test_rows_are_equal_by_their_numbers_alone(monkeypatch):
    monkeypatch.setattr(COPIES, "_hashes", lambda rows, factors: torch.zeros(len(rows), dtype=torch.int64))
    x = torch.tensor([[1.0], [2.0], [1.0], [3.0], [2.0]])
    assert COPIES.firsts(Rows(x)).tolist() == [0, 1, 0, 3, 4], "one of them is found; the others stay by themselves"
