"""One cell of a grid: a data set, a condition, a strategy, a seed, the settings; its records, once it is finished."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import autoal
from autoal import checks, files, models
from autoal.experiment.boss import ORACLE_STRATEGIES
from autoal.experiment.conditions import AS_IT_IS, Condition, task
from autoal.experiment.datasets import DataSet
from autoal.experiment.metrics import Record, Run, accuracy, balanced_accuracy
from autoal.experiment.own_strategy import OwnStrategy
from autoal.experiment.sizes import Size, check_size, labels_of
from autoal.learner import ActiveLearner, Round
from autoal.oracle import DataSetOracle, Oracle
from autoal.search.autoal import AutoAL
from autoal.strategies import Strategy, resolve

REVISION = 2  # of the records and of what decides them; a new number recomputes within a version of the package
OF_AUTOAL = ("variant", "search", "query", "loss_prediction", "candidates")  # settings that no other strategy reads


@dataclass(frozen=True)
class Settings:
    """What all cells of a grid share.

    Attributes:
        initial_size: Labels of round 0; "C" or "2C" are multiples of the number of classes.
        query_size: Labels per later round, likewise.
        rounds: Rounds after round 0.
        model: Name of the task model.
        device: "auto", "cpu" or "cuda".
        variant, search, query, loss_prediction, candidates: Of ``AutoAL``; None leaves its default.
    """

    initial_size: Size = 20
    query_size: Size = 20
    rounds: int = 10
    model: str = "linear"
    device: str = "auto"
    variant: str | None = None
    search: str | None = None
    query: str | None = None
    loss_prediction: bool | None = None
    candidates: tuple[str, ...] | None = None

    def check(self) -> None:
        """Raises ValueError if a name is unknown, a device is not there, or a count is out of range."""
        check_size(self.initial_size, "initial_size")
        check_size(self.query_size, "query_size")
        checks.as_count(self.rounds, "rounds", low=1)
        models.make(self.model, device=self.device)
        self.autoal()

    def of(self, n_classes: int) -> Settings:
        """These settings for a data set of ``n_classes``: sizes in labels."""
        initial, query = labels_of(self.initial_size, n_classes), labels_of(self.query_size, n_classes)
        return replace(self, initial_size=initial, query_size=query)

    def strategy(self, name: str, oracle: Oracle) -> Strategy:
        """A new object of the strategy ``name`` with these settings; only an oracle strategy is given the oracle."""
        if name in ORACLE_STRATEGIES:
            return ORACLE_STRATEGIES[name](oracle)
        return self.autoal() if name == AutoAL.name else resolve(name)

    def autoal(self) -> AutoAL:
        """A new ``AutoAL`` with these settings."""
        chosen: dict[str, Any] = {name: getattr(self, name) for name in OF_AUTOAL}
        return AutoAL(**{key: value for key, value in chosen.items() if value is not None})


@dataclass(frozen=True)
class Cell:
    """What is run once; ``key`` names its file. Its settings are those of its number of classes (``Settings.of``)."""

    dataset: str
    fingerprint: str  # of the data themselves: another set under the same name is another cell
    strategy: str
    seed: int
    settings: Settings
    condition: Condition = AS_IT_IS
    own: OwnStrategy | None = None  # the class, where ``strategy`` is the name of a user's

    @property
    def key(self) -> str:
        """SHA-256 of all that decides the result, defaults resolved."""
        settings = asdict(self.settings) | {"device": models.find_device(self.settings.device).type}
        for name in OF_AUTOAL:
            settings.pop(name)
        if self.strategy == AutoAL.name:
            settings["autoal"] = self.settings.autoal().settings
        content: dict[str, Any] = {"dataset": self.dataset, "fingerprint": self.fingerprint, "strategy": self.strategy}
        content |= {"seed": self.seed, "settings": settings, "version": autoal.__version__, "revision": REVISION}
        if self.condition.label:
            content["condition"] = asdict(self.condition)
        if self.own is not None:
            content["own"] = [self.own.path, self.own.source]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def run(self) -> Run:
        """What the statistics know it by."""
        return task(self.dataset, self.condition.label), self.strategy, self.seed

    @property
    def title(self) -> str:
        """What messages call it."""
        name, strategy, seed = self.run
        return f"{name}, {strategy}, seed {seed}"

    def path(self, folder: Path) -> Path:
        """Where its records are kept in the grid's folder."""
        return folder / "cells" / f"{self.key}.jsonl"

    def load(self, folder: Path) -> list[Record] | None:
        """Its records, or None if it has not been finished.

        Raises:
            ValueError: If something else than ``save`` has written its file; that is for a person to look at.
        """
        path = self.path(folder)
        if not path.exists():
            return None
        try:
            records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except ValueError:  # no JSON, or no UTF-8
            records = []
        whole = all(isinstance(record, dict) and "accuracy" in record for record in records)
        if not whole or len(records) != self.settings.rounds + 1:
            raise ValueError(f"{path} is damaged: delete it, and the same command computes it anew")
        return records

    def save(self, folder: Path, records: list[Record]) -> None:
        """Stores its records, whole or not at all."""
        files.atomic_write_text(self.path(folder), "".join(json.dumps(record) + "\n" for record in records))


def fingerprint(data: DataSet) -> str:
    """SHA-256 over a data set's arrays."""
    digest = hashlib.sha256()
    for array in (data.x_train, data.y_train, data.x_test, data.y_test):
        digest.update(f"{array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def run_cell(cell: Cell, data: DataSet, on_round: Callable[[], object] = lambda: None) -> list[Record]:
    """Runs a cell: R + 1 records, round 0 being the state after the initial labels.

    The pool, the initial sample and the task model depend on the seed alone, so cells of one seed are paired across
    strategies.
    """
    settings = cell.settings
    assert isinstance(settings.initial_size, int) and isinstance(settings.query_size, int), "Settings.of comes first"
    data = cell.condition.applied(data, cell.seed)
    oracle = DataSetOracle(data.y_train)
    learner = ActiveLearner(
        data.x_train,
        models.make(settings.model, device=settings.device),
        settings.strategy(cell.strategy, oracle) if cell.own is None else cell.own.cls(),
        oracle=oracle,
        initial_size=settings.initial_size,
        query_size=settings.query_size,
        budget=settings.initial_size + settings.rounds * settings.query_size,
        n_classes=data.n_classes,
        seed=cell.seed,
    )
    x_test = checks.tensor_of(data.x_test)
    records: list[Record] = []

    def record(done: Round) -> None:
        predicted = learner.model.predict(x_test)
        line: Record = {
            "dataset": cell.dataset,
            "strategy": cell.strategy,
            "seed": cell.seed,
            "round": done.number,
            "labeled": done.labeled,
            "accuracy": accuracy(predicted, data.y_test),
            "balanced_accuracy": balanced_accuracy(predicted, data.y_test),
            "query_seconds": done.query_seconds,
            "fit_seconds": done.fit_seconds,
        }
        if cell.condition.label:
            line["condition"] = cell.condition.label
        if done.query.strategy_weights:
            line["strategy_weights"] = done.query.strategy_weights
        records.append(line)
        on_round()

    learner.run(callback=record)
    return records
