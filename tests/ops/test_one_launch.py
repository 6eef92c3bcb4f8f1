"""The selections that are one cooperative launch, on pools small enough for compute-sanitizer.

Whatever a kernel reads comes by copy from the host: to initcheck, which sees our kernels alone, all that torch's have
written is not initialized.
"""

from __future__ import annotations

import pytest
import torch

from autoal.ops import native

NO_CENTERS = torch.empty(0, dtype=torch.int64)


def clusters(n: int, d: int, lattice) -> torch.Tensor:
    """Tight and far apart: most proposals are rejected, and all rows are brought up to date now and then."""
    return 16 * lattice(20, d, seed=1)[torch.arange(n) % 20] + lattice(n, d, seed=2, high=1)


def on_device(kernel, pool, device, *arguments):
    """The picks there, forced to be lazy, which must be the CPU's."""
    there = [x.to(device) if isinstance(x, torch.Tensor) and len(x) else x for x in pool]
    ours, theirs = (kernel(*x, *arguments, native.LAZY) for x in (there, pool))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a.cpu(), b)
    return theirs[0]


def test_kcenter_greedy(device, lattice):
    pool = lattice(5000, 70), None, NO_CENTERS
    picks = on_device(native.kcenter_greedy, pool, device, 0, 100)
    assert torch.equal(picks, native.kcenter_greedy(*pool, 0, 100, native.PLAIN)[0])


def test_kmeanspp(device, lattice):
    picks = on_device(native.kmeanspp, [clusters(3000, 70, lattice)], device, 0, 60, 3)
    assert len(picks.unique()) == 60 and len((picks[:20] % 20).unique()) == 20  # no cluster twice before all once


@pytest.mark.parametrize("c", [10, 70])  # products of floats, and of floats rounded to bfloat16
def test_gradient_kmeanspp(device, lattice, c):
    rows = torch.arange(3000)
    p = torch.zeros(3000, c)
    p[rows, rows % c] = p[rows, (7 * rows + 3) % c] = 0.5
    picks = on_device(native.gradient_kmeanspp, (p, True, 1e-3, lattice(3000, 70)), device, 60, 3)
    assert len(picks.unique()) == 60
