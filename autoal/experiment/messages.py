"""What a grid and its worker processes tell each other: cells as JSON, data sets as memory-mapped files."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from autoal.experiment.cells import Cell, Settings
from autoal.experiment.conditions import Condition
from autoal.experiment.datasets import DataSet
from autoal.experiment.own_strategy import OwnStrategy

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
BAD_INPUT = (ValueError, TypeError, ImportError, OSError)  # what the command line answers with "bad input"


def as_message(cell: Cell) -> dict[str, Any]:
    """A cell as plain values."""
    message = {name: getattr(cell, name) for name in ("dataset", "fingerprint", "strategy", "seed")}
    message |= {"settings": asdict(cell.settings), "condition": asdict(cell.condition)}
    return message | {"own": None if cell.own is None else [cell.own.path, cell.own.source]}


def cell_of(message: dict[str, Any]) -> Cell:
    """The cell that ``as_message`` told of; imports a user's class."""
    settings, candidates = message["settings"], message["settings"]["candidates"]
    settings = Settings(**{**settings, "candidates": None if candidates is None else tuple(candidates)})
    own = None if message["own"] is None else OwnStrategy.imported(*message["own"])
    plain = {name: message[name] for name in ("dataset", "fingerprint", "strategy", "seed")}
    return Cell(**plain, settings=settings, condition=Condition(**message["condition"]), own=own)


def write(data: DataSet, folder: Path) -> None:
    """A data set as files that any number of processes map into one memory."""
    folder.mkdir()
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", getattr(data, name), allow_pickle=False)
    about = {"name": data.name, "class_names": data.class_names, "source": data.source, "features": data.features}
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


def mapped(folder: Path) -> DataSet:
    """The data set that ``write`` wrote, its samples mapped."""
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ARRAYS}
    return DataSet(**arrays, **{**about, "class_names": tuple(about["class_names"])})


def describe(error: BaseException) -> dict[str, Any]:
    """An exception as plain values."""
    return {"type": type(error).__name__, "text": str(error), "bad_input": isinstance(error, BAD_INPUT)}


def failure(cell: Cell, told: dict[str, Any]) -> Exception:
    """The exception that names the cell: a ValueError where the input was bad, else a RuntimeError."""
    if told["bad_input"]:
        return ValueError(f"{cell.title}: {told['text'] or told['type']}")
    return RuntimeError(f"{cell.title}: {told['type']}: {told['text']}")
