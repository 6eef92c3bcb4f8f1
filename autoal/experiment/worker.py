"""A worker process of a grid: reads cells from a connection, answers with their records. ``workers`` starts it."""

from __future__ import annotations

import json
import os
import queue
import shutil
import sys
import threading
import traceback
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from autoal.experiment import messages
from autoal.experiment.cells import run_cell
from autoal.experiment.datasets import DataSet


def main() -> None:
    """Serves until the connection is closed; ``sys.argv`` holds its file descriptor and the folder of the data."""
    connection, folder = Connection(int(sys.argv[1])), Path(sys.argv[2])
    torch.set_num_threads(1)
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=listen, args=(connection, tasks, folder), daemon=True).start()

    def tell(**message: Any) -> None:
        connection.send_bytes(json.dumps(message).encode())

    def show(message: Warning | str, *_: object, **__: object) -> None:
        tell(warning=str(message))

    warnings.showwarning = show
    data: dict[str, DataSet] = {}
    while True:
        task = json.loads(tasks.get())
        try:
            cell = messages.cell_of(task)
            if cell.dataset not in data:
                data[cell.dataset] = messages.mapped(folder / task["folder"])
            records = run_cell(cell, data[cell.dataset], on_round=lambda: tell(round=True))
        except Exception as error:  # whatever a strategy raises is told by the process that the user sees
            told = messages.describe(error)
            tell(error=told, trace=traceback.format_exc())
        else:
            tell(records=records)


def listen(connection: Connection, tasks: queue.SimpleQueue[bytes], folder: Path) -> None:
    """Passes tasks on; leaves the process, whatever it computes, once nobody is at the other end any more.

    Then nobody else is left to remove the folder, either: who can still close the connection ends the workers first.
    """
    while True:
        try:
            tasks.put(connection.recv_bytes())
        except (EOFError, OSError):
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(0)
