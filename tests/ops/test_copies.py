"""copies: rows that are equal, by their numbers, and what chance in the hashes does to them."""

from __future__ import annotations

import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autoal.ops.rows import Rows, unit

COPIES = sys.modules["autoal.ops.copies"]


def lowest(x):
    """Positions [N] by all pairs."""
    return [int((x == row).all(1).nonzero()[0]) for row in x]


@given(
    n=st.integers(0, 40),
    d=st.integers(1, 3),
    high=st.integers(0, 2),
    most=st.integers(1, 4),
    metric=st.sampled_from(["l2", "cosine", "ip"]),
    seed=st.integers(0, 99),
)
def test_all_pairs(n, d, high, most, metric, seed):
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(-high, high + 1, (n, d), generator=g) * (torch.randint(0, 2, (n, d), generator=g) - 0.5)  # -0 too
    first = lowest(unit(x) if metric == "cosine" else x)
    assert COPIES.firsts(Rows(x), metric).tolist() == first
    kept = [first[:i].count(first[i]) < most for i in range(n)]
    assert COPIES.among_first(Rows(x), most, metric).tolist() == kept


@pytest.mark.parametrize("d", [3, 700])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_parts_and_a_choice_of_rows(dtype, d, device, monkeypatch):
    monkeypatch.setattr(COPIES, "NUMBERS", 7 * d)  # parts of 7 rows
    x = torch.randn(40, d).to(dtype).repeat(3, 1).to(device)
    assert COPIES.firsts(Rows(x), "l2").tolist() == [*range(40)] * 3
    assert COPIES.firsts(Rows(x, torch.arange(30, 90, device=device)), "l2").tolist() == [*range(40), *range(20)]


def test_rows_are_equal_by_their_numbers_alone(monkeypatch):
    monkeypatch.setattr(COPIES, "_hashes", lambda x, metric, step: torch.zeros(len(x), dtype=torch.int64))
    x = torch.tensor([[1.0], [2.0], [1.0], [3.0], [2.0]])
    for y in (x, x.expand(5, 300)):
        assert COPIES.firsts(Rows(y), "l2").tolist() == [0, 1, 0, 3, 4], "one is found; the others stay by themselves"


def test_by_cosine_rows_of_one_direction_are_copies():
    """Powers of two leave all digits as they are, integers are multiples of a row whose shares are the same numbers."""
    x = torch.randn(30, 50, generator=torch.Generator().manual_seed(0))
    counts = torch.randint(0, 9, (30, 50), generator=torch.Generator().manual_seed(1)).float()
    for y in (torch.cat([x, x * 2.0**20, x / 64]), torch.cat([counts, counts * 7, counts * 1000])):
        assert COPIES.firsts(Rows(y), "cosine").tolist() == [*range(30)] * 3
        assert COPIES.firsts(Rows(y), "l2").tolist() == [*range(90)]
    assert COPIES.firsts(Rows(torch.cat([x, -x])), "cosine").tolist() == [*range(60)], "not of opposite ones"


CODES = {
    "signs": (-1, 1),
    "bits": (0, 1),
    "halves": (0.5, -0.5),
    "powers of two": (1, 2.0**64),
    "far powers": (2.0**-100, 2.0**100),
    "zero and the least": (0, 2.0**-149),
    "neighbors": (1, 1 + 2**-23),
    "digits of a half": (1, 1 + 2**-10),
}


@pytest.mark.parametrize("code", CODES)
def test_binary_codes_have_hashes_of_their_own(code):
    """2^19 rows: a hash of which 33 bits depend on the row would be that of another for some sixteen of them."""
    x = torch.tensor(CODES[code])[torch.randint(0, 2, (2**19, 48), generator=torch.Generator().manual_seed(0))]
    assert len(COPIES._hashes(Rows(x), "l2", 1).unique()) == len(x), "rows differ, but by a chance of 2^-11"


def test_a_few_columns_tell_rows_apart_that_are_no_copies(monkeypatch):
    hashed, hashes = [], COPIES._hashes
    monkeypatch.setattr(COPIES, "_hashes", lambda x, *rest: hashed.append(len(x)) or hashes(x, *rest))
    x = torch.randn(2000, 640, generator=torch.Generator().manual_seed(0))
    x[1500], x[7, 1], x[1700] = x[3], 5, x[7]
    x[1700, 1] = 6  # not among the columns looked at first
    expected = [*range(2000)]
    expected[1500] = 3
    assert COPIES.firsts(Rows(x), "l2").tolist() == expected
    assert hashed == [2000, 4]
