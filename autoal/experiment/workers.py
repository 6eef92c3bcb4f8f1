"""Runs cells in worker processes, each of one thread: a new interpreter per worker, spoken to over a socket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from autoal.experiment import messages
from autoal.experiment.cells import Cell
from autoal.experiment.datasets import DataSet
from autoal.experiment.metrics import Record

# The interpreter's own search path comes first, so that a folder it happens to be started in cannot stand before it.
START = "import sys; sys.path[:] = sys.argv[3:]; from autoal.experiment.worker import main; main()"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "AUTOAL_NUM_THREADS")
Finished = Generator[tuple[Cell, list[Record]], None, None]


@dataclass
class Worker:
    """A process, the socket to it, and the cell under way."""

    process: subprocess.Popen[bytes]
    connection: Connection
    cell: Cell


def run_cells(cells: Sequence[Cell], data: Sequence[DataSet], jobs: int, on_round: Callable[[], object]) -> Finished:
    """Each cell with its records, in the order in which they are finished.

    The processes end with the iterator, however it ends: they hold nothing that would have to be saved.

    Args:
        cells: What is to be run.
        data: Their data sets; written to a temporary folder once and mapped by all workers.
        jobs: How many processes.
        on_round: Called after every round of any cell.

    Raises:
        ValueError, RuntimeError: If a cell fails, or its process dies; the message names the cell.
    """
    folder_of = {one.name: str(number) for number, one in enumerate(data)}
    waiting, workers = deque(cells), dict[Connection, Worker]()
    with tempfile.TemporaryDirectory(prefix="autoal-") as folder:
        for one in [one for one in data if any(cell.dataset == one.name for cell in cells)]:
            messages.write(one, Path(folder) / folder_of[one.name])
        try:
            for _ in range(min(jobs, len(cells))):
                process, connection = start(Path(folder))
                workers[connection] = Worker(process, connection, waiting[0])
                give(workers[connection], waiting.popleft(), folder_of)
            while workers:
                dead = []
                ready = wait(list(workers))
                for worker in [worker for connection, worker in workers.items() if connection in ready]:
                    try:
                        message = json.loads(worker.connection.recv_bytes())
                    except (EOFError, OSError):
                        dead.append(worker)
                        continue
                    if "records" in message:
                        yield worker.cell, message["records"]
                        if waiting:
                            give(worker, waiting.popleft(), folder_of)
                        else:
                            stop(workers.pop(worker.connection))
                    else:
                        listen(worker, message, on_round)
                if dead:  # only now: the others may have finished cells meanwhile
                    raise death(dead[0])
        finally:
            for worker in workers.values():
                stop(worker)


def start(folder: Path) -> tuple[subprocess.Popen[bytes], Connection]:
    """A new worker process.

    It is no child of ``multiprocessing``, which would run the user's main script in it again; and in a session of its
    own, so that Ctrl-C reaches this process alone.
    """
    ours, theirs = Pipe()
    words = [sys.executable, "-c", START, str(theirs.fileno()), str(folder), *sys.path]
    environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
    with theirs:
        process = subprocess.Popen(
            words, env=environment, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], start_new_session=True
        )
    return process, ours


def give(worker: Worker, cell: Cell, folder_of: dict[str, str]) -> None:
    """Hands a cell to an idle worker; that it has died shows where its answer is read."""
    worker.cell = cell
    message = {**messages.as_message(cell), "folder": folder_of[cell.dataset]}
    with suppress(OSError):
        worker.connection.send_bytes(json.dumps(message).encode())


def listen(worker: Worker, message: dict[str, Any], on_round: Callable[[], object]) -> None:
    """Acts on what a worker tells between its results."""
    if "round" in message:
        on_round()
    elif "warning" in message:
        warnings.warn(message["warning"], stacklevel=2)
    else:
        raise messages.failure(worker.cell, message["error"]) from WorkerError(message["trace"])


def stop(worker: Worker) -> None:
    """Ends a worker at once."""
    worker.process.kill()
    worker.process.wait()
    worker.connection.close()


def death(worker: Worker) -> RuntimeError:
    """The error for a worker that died."""
    code = worker.process.wait()
    how = f"left with exit code {code}" if code >= 0 else f"was ended by signal {-code} ({signal.strsignal(-code)})"
    hint = " (for want of memory? try fewer jobs)" if code == -signal.SIGKILL else ""
    return RuntimeError(
        f"{worker.cell.title}: the worker process {how}{hint}; what was finished is kept, and the same command goes on"
    )


class WorkerError(Exception):
    """The traceback of a worker, as text."""
