"""What a pool is recognised by: a number per block of rows that does not depend on how ranks share them.

A row's digest is a sum over its words, each times a random number; a block's is the sum over its rows, mixed with their
numbers. Sums are modulo 2^64, so that of a block which two ranks share each can do its part.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from autoal.distributed.draws import mixed
from autoal.distributed.ranks import Ranks
from autoal.distributed.shard import Shard

BLOCK = 1 << 16  # rows
SLICE = 1 << 20  # words looked at together
KEY = 0xA070A1  # of the random numbers; files depend on it


def digest(array: np.ndarray) -> str:
    """Of a small array, in words of an error message."""
    return (
        f"{len(array)} rows, {hashlib.sha256(array.astype('<i8').tobytes()).hexdigest()[:16]}" if len(array) else "none"
    )


def blocks(shard: Shard, ranks: Ranks) -> list[str]:
    """The digest of each block of the pool, the same on all ranks."""
    mine = np.zeros(-(-shard.total // BLOCK), np.uint64)
    numbers = np.random.Generator(np.random.Philox(KEY)).integers(0, 2**64, shard.x.shape[1], np.uint64) | np.uint64(1)
    words = shard.x.view(torch.int32 if shard.x.itemsize == 4 else torch.int16).numpy()
    words = words.view(np.uint32 if words.itemsize == 4 else np.uint16)  # [n, D]
    step = max(1, SLICE // words.shape[1])
    for begin in range(0, len(words), step):
        rows = np.arange(begin, min(len(words), begin + step), dtype=np.uint64) + np.uint64(shard.start)
        sums = words[begin : begin + step].astype(np.uint64) @ numbers
        np.add.at(mine, (rows // np.uint64(BLOCK)).astype(np.int64), mixed(sums ^ mixed(rows + np.uint64(1))))
    told = ranks.gather(torch.from_numpy(mine.view(np.int64)), "digests of the pool")
    total = torch.stack(told).sum(0).numpy().view(np.uint64)
    return [f"{value:016x}" for value in total.tolist()]
