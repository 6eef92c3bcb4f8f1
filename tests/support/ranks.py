"""Processes of a gloo group that call functions of this file when they are told to."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
import time
import traceback
import warnings
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

START_SECONDS = 120  # for importing torch, on a busy machine too


def split(pool, sizes, rank):
    """The part of ``rank`` where the ranks have ``sizes`` rows."""
    start = sum(sizes[:rank])
    return pool[start : start + sizes[rank]]


def sizes_of(n, ranks):
    """Unequal parts of n rows."""
    ends = [n * (j + 1) ** 2 // ranks**2 for j in range(ranks)]
    return [int(size) for size in np.diff([0, *ends])]


class World:
    """``size`` processes; ``call`` runs a function on the first so many of them, which are a group by themselves."""

    def __init__(self, size: int, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")  # not fork: torch has threads
        self.connections, self.processes = [], []
        for rank in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(rank, size, str(folder / "store"), theirs), daemon=True)
            process.start()
            theirs.close()
            self.connections.append(ours)
            self.processes.append(process)
        for connection in self.connections:
            assert connection.poll(START_SECONDS) and connection.recv() == "ready"

    def begin(self, ranks: int, name: str, **arguments: Any) -> None:
        """Has the first ``ranks`` processes run ``name(rank, group, **arguments)``."""
        for connection in self.connections[:ranks]:
            connection.send((ranks, name, arguments))

    def call(self, ranks: int, name: str, **arguments: Any) -> list[Any]:
        """What they return, or the exceptions they raise."""
        self.begin(ranks, name, **arguments)
        return [self.answer(rank) for rank in range(ranks)]

    def answer(self, rank: int, seconds: float = 60) -> Any:
        """What a rank returned, or raised."""
        assert self.connections[rank].poll(seconds), f"rank {rank} does not answer"
        return self.connections[rank].recv()

    def close(self) -> None:
        """Ends the processes."""
        for process in self.processes:
            process.kill()
        wait([process.sentinel for process in self.processes], 10)


def serve(rank: int, size: int, store: str, connection: Connection) -> None:
    """A process of the world."""
    import torch
    import torch.distributed as dist

    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=size)
    groups = {n: dist.new_group(list(range(n))) for n in range(1, size + 1)}
    connection.send("ready")
    while True:
        try:
            ranks, name, arguments = connection.recv()
        except EOFError:
            return
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                answer = globals()[name](rank, groups[ranks], **arguments)
            answer = (*answer, [str(warning.message) for warning in caught]) if isinstance(answer, tuple) else answer
        except Exception as error:  # the test judges it
            answer = error
            answer.add_note(traceback.format_exc()) if hasattr(answer, "add_note") else None
        connection.send(answer)


def kcenter(rank, group, pool, sizes, options):
    """Indices, radius and traffic of this rank's part; ``options`` are all ranks' or one dict each."""
    from autoal import distributed

    mine = dict(options[rank] if isinstance(options, list) else options)
    shard = mine.pop("shard", split(pool, sizes, rank))
    answer = distributed.kcenter_greedy(shard, mine.pop("k"), group=group, **mine)
    return answer.indices, answer.radius, answer.traffic


def kmeanspp(rank, group, pool, sizes, options):
    """Indices and traffic."""
    from autoal import distributed

    mine = dict(options[rank] if isinstance(options, list) else options)
    return tuple(distributed.kmeanspp(split(pool, sizes, rank), mine.pop("k"), group=group, **mine))


def kcenter_with_fate(rank, group, pool, sizes, options, fates, after):
    """The same; once there are more than ``after`` picks, ranks in ``fates`` meet theirs."""

    def progress(picked):
        if picked > after and rank in fates:
            FATES[fates[rank]](options)

    return kcenter(rank, group, pool, sizes, {**options, "progress": progress})


def fail(options):
    raise ArithmeticError("of this rank alone")


def lose_the_folder(options):
    shutil.rmtree(Path(options["checkpoint"]).parent, ignore_errors=True)


FATES = {
    "killed": lambda options: os.kill(os.getpid(), signal.SIGKILL),
    "stopped": lambda options: os.kill(os.getpid(), signal.SIGSTOP),
    "failed": fail,
    "folder lost": lose_the_folder,
}


def fingerprints(rank, group, pool, sizes, block):
    """The digests of the pool's blocks of so many rows."""
    import torch

    from autoal.distributed import fingerprint
    from autoal.distributed.ranks import Ranks
    from autoal.distributed.shard import Shard

    part = Shard(torch.from_numpy(split(pool, sizes, rank)), None, np.cumsum([0, *sizes]), rank)
    with mock.patch.object(fingerprint, "BLOCK", block):
        return fingerprint.blocks(part, Ranks.of(group, 30))


def top(rank, group, scores, sizes, k):
    """Indices, scores and traffic."""
    from autoal import distributed

    return tuple(distributed.top_k(split(scores, sizes, rank), k[rank], group=group))


def one_each(rank, group, pool):
    """The lowest rank calls another function than the others."""
    from autoal import distributed

    return (
        distributed.top_k(pool[:, 0], 1, group=group) if rank == 0 else distributed.kcenter_greedy(pool, 1, group=group)
    )


def two_rounds(rank, group, pool, sizes, options):
    """Indices, radius, lower bound and traffic."""
    from autoal import distributed

    return tuple(distributed.kcenter_two_rounds(split(pool, sizes, rank), group=group, **options))


def interrupted(rank, group):
    """Seconds after which Ctrl-C ends the wait of the lowest rank for the others, which never come."""
    from autoal import distributed

    if rank > 0:
        return None
    pressed = []

    def press():
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Timer(0.5, press).start()
    try:
        distributed.top_k(np.ones(3, np.float32), 1, group=group, timeout=30)
    except KeyboardInterrupt:
        return time.monotonic() - pressed[0]
