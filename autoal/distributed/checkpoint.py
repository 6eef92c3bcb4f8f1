"""A selection in a file: the picks so far, and of what pool by which arguments. Bounds are not kept: they are what the
pool and the picks say, so that a selection goes on with any number of ranks."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from autoal.distributed import fingerprint
from autoal.distributed.agreement import raise_any
from autoal.distributed.ranks import Ranks
from autoal.distributed.shard import Shard
from autoal.files import atomic_write_text
from autoal.ops import native

FORMAT = 1
Stored = tuple[list[int], list[float]]


class Checkpoint:
    """The file ``path``, which the lowest rank alone reads and writes; all ranks call its methods together."""

    def __init__(
        self, path: Path, op: str, arguments: dict[str, Any], shard: Shard, ranks: Ranks, seconds: float
    ) -> None:
        self._path, self._ranks, self._seconds = path, ranks, seconds
        self._n_rows = shard.total
        self._subject = {
            "format": FORMAT,
            "op": op,
            "arguments": arguments,
            "instruction set (AUTOAL_CPU)": native.cpu.isa(),  # another rounds sums otherwise, and might pick otherwise
            "pool": {
                "rows": shard.total,
                "columns": shard.x.shape[1],
                "dtype": str(shard.x.dtype).removeprefix("torch."),
                "rows of a block": fingerprint.BLOCK,
                "blocks": fingerprint.blocks(shard, ranks),
            },
        }
        self._length = 0  # of the distances in the file
        self._written = time.monotonic()

    def load(self) -> Stored | None:
        """Picks and their distances, or None if there is no file.

        Raises:
            ValueError: On all ranks, if the file is damaged or another selection's, naming what differs; or if its
                folder is missing.
        """
        message: dict[str, Any] = {"error": "", "stored": None}
        if self._ranks.rank == 0:
            try:
                message["stored"] = self._read()
            except (OSError, ValueError) as error:
                message["error"] = f"checkpoint {self._path}: {error}"
        told = self._ranks.share(message, "the checkpoint to be read")
        if self._ranks.rank == 0 and message["error"]:
            raise ValueError(message["error"])
        raise_any(told)
        stored = told[0]["stored"]
        if stored is None:
            return None
        self._length = len(stored[1])
        return stored[0], stored[1]

    def save(self, picks: list[int], distances: list[float], now: bool = False) -> str:
        """Writes the file if it is time, or ``now``, and there is more to write: the lowest rank. Gives the error."""
        due = now or time.monotonic() - self._written >= self._seconds
        if self._ranks.rank != 0 or not due or len(distances) <= self._length:
            return ""
        content = {**self._subject, "picks": picks, "distances": distances}
        try:
            atomic_write_text(self._path, json.dumps({**content, "sha256": _digest(content)}))
        except OSError as error:
            return f"checkpoint {self._path}: {error}"
        self._length, self._written = len(distances), time.monotonic()
        return ""

    def _read(self) -> Stored | None:
        if not self._path.parent.is_dir():
            raise ValueError("there is no such folder")
        if not self._path.exists():
            return None
        try:
            text = self._path.read_text(encoding="utf-8")
            content = json.loads(text)
            sound = json.dumps(content) == text  # nor is anything else, such as an e that became an E
            sound = content.pop("sha256") == _digest(content) and sound
            picks, distances = content.pop("picks"), content.pop("distances")
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            raise ValueError("the file is no checkpoint, or damaged") from None
        if not sound:
            raise ValueError("the file is damaged: its digest is another")
        differing = _difference(content, self._subject)
        if differing:
            raise ValueError(f"{differing}; remove the file to begin anew")
        # That bytes are as they were written does not say that autoal wrote them.
        numbers = isinstance(picks, list) and isinstance(distances, list) and len(picks) <= len(distances)
        if not numbers or not all(type(pick) is int and 0 <= pick < self._n_rows for pick in picks):
            raise ValueError("its picks are no rows of the pool")
        if len(set(picks)) < len(picks) or not all(type(value) is float for value in distances):
            raise ValueError("its picks or distances are none of a selection")
        return picks, distances


def _difference(theirs: Any, ours: Any, name: str = "") -> str:
    """The first field in which a file is not what this selection would write; empty if there is none."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in ours:
            inner = _difference(theirs.get(key), ours[key], f"{name}, {key}" if name else key)
            if inner:
                return inner
        return ""
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        other = next((i for i, (a, b) in enumerate(zip(theirs, ours, strict=True)) if a != b), None)
        if other is None:
            return ""
        rows = f"rows {other * fingerprint.BLOCK} to {(other + 1) * fingerprint.BLOCK - 1}"
        return f"it is another pool's: {name} differ in block {other} ({rows})"
    return "" if theirs == ours else f"it is another selection's: {name} is {theirs!r} there, {ours!r} here"


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
