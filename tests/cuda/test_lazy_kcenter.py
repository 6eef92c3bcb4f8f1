"""Blocked-lazy k-center of the CUDA source on the emulator, against plain passes of the same source and the CPU's.

Pools are just large enough that rounds cut, refresh and pick among a part of the rows.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoal import _core
from autoal.ops.native import LAZY, PLAIN

emu = pytest.importorskip("autoal._emu", reason="built without AUTOAL_EMULATION")

GUARD = 0xAB


def at(array):
    return 0 if array is None else array.ctypes.data


def kcenter(x, k, passes, *, first=-1, centers=(), scale=None, dtype=0, cpu=False):
    module = _core if cpu else emu
    centers = np.asarray(centers, np.int64)
    picks, radius, filled = np.full(k, -7, np.int64), np.full(k, np.nan, np.float32), np.full(1, -7, np.int64)
    arguments = [module.Matrix(at(x), *x.shape, dtype), at(scale), at(centers), len(centers), first, k, passes]
    arguments += [at(picks), at(radius), at(filled)]
    if cpu:
        _core.cpu.kcenter_greedy(*arguments, None)
    else:
        size = emu.kcenter_greedy_workspace(*x.shape, k)
        space = np.full(size + 512, 0xFF, np.uint8)
        space[:256] = space[-256:] = GUARD
        emu.kcenter_greedy(*arguments, at(space) + 256, 0, 0)
        assert (space[:256] == GUARD).all() and (space[-256:] == GUARD).all(), "written outside the workspace"
    return picks.tolist(), radius.tolist(), int(filled[0])


def check(x, k, **arguments):
    arguments = {"first": 0} | arguments
    plain = kcenter(x, k, PLAIN, **arguments)
    assert kcenter(x, k, LAZY, **arguments) == plain
    return plain


def normal(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def test_smoke():
    for n, d, k in ((1, 1, 1), (7, 2, 7), (300, 3, 40), (700, 5, 100), (700, 70, 60)):
        check(normal(n, d), k)
