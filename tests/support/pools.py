"""Pools on disk for tests: small, and of three shards."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np

D = 64  # 256 bytes a row: whole pages every 256 rows
SHARD_ROWS = 256


def numbers(n: int = 600, d: int = D, *, seed: int = 0) -> np.ndarray:
    """[n, d] float32."""
    return np.random.default_rng(seed).standard_normal((n, d), dtype=np.float32)


def in_child(call: Callable[[], object]) -> int:
    """Calls it in a forked process; its exit status, negative where a signal ended it."""
    child = os.fork()
    if not child:
        status = 1
        try:
            call()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at(path: Path, x: np.ndarray, row: int) -> int:
    """Writes a pool in a process that is killed when it asks for this row."""
    from autoal import Pool

    def batches(start: int):
        for first in range(start, len(x), 50):
            if first >= row:
                os.kill(os.getpid(), signal.SIGKILL)
            yield x[first : first + 50]

    return in_child(lambda: Pool.write(path, batches, shard_rows=SHARD_ROWS))
