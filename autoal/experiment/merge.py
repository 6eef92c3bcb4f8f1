"""Several folders of results as one, where they can be compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autoal.experiment.cells import OF_AUTOAL, Settings
from autoal.experiment.config import Config
from autoal.experiment.metrics import Record, task_of
from autoal.search.autoal import AutoAL

SHARED = ("initial_size", "query_size", "rounds", "model", "device")
TOLD = ("autoal", "torch", "numpy", "cpu", "cores")  # told, not compared: what they decide are seconds and last digits
NUMBERS = ("round", "labeled", "seed", "accuracy", "balanced_accuracy", "query_seconds", "fit_seconds")
SECONDS = ("query_seconds", "fit_seconds")


def read(folder: Path) -> tuple[list[Record], Config]:
    """The records and the configuration of a folder of results.

    Raises:
        ValueError: If it is none, or damaged.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
    except (FileNotFoundError, NotADirectoryError) as error:
        missing = Path(error.filename).name
        raise ValueError(
            f"{folder} holds no finished results ({missing} is missing): give the --out of a run"
        ) from None
    except ValueError:  # no JSON, or no UTF-8
        raise ValueError(
            f"{folder} is damaged: config.json or metrics.jsonl is no JSON; run its command again"
        ) from None
    if not tells_enough(config):
        raise ValueError(f"{folder / 'config.json'} is damaged: it lacks what a run writes; run its command again")
    if not records or not all(map(whole, records)):
        raise ValueError(f"{folder / 'metrics.jsonl'} is damaged: not every line is a record; run its command again")
    for run, rows in runs_of(records).items():
        if [row["round"] for row in rows] != list(range(config["rounds"] + 1)):
            raise ValueError(f"{folder / 'metrics.jsonl'} is damaged: {', '.join(map(str, run))} lacks rounds")
    return records, config


def merged(folders: Sequence[Path]) -> tuple[list[Record], Config]:
    """The records of all folders, each run once, and a configuration that tells of all of them.

    Raises:
        ValueError: If a folder is damaged, or two of them hold different things under one name.
    """
    runs: dict[tuple[str, str, int], list[Record]] = {}
    config: Config = {}
    for folder in folders:
        records, other = read(folder)
        if config:
            check_settings(config, other, folders[0], folder)
        for run, rows in runs_of(records).items():
            if untimed(runs.setdefault(run, rows)) != untimed(rows):
                raise ValueError(
                    f"{folder} and a folder before it both hold {run[0]}, {run[1]}, seed {run[2]}, but not the same"
                )
        config = joined(config, other) if config else other
    tasks, strategies = (list(dict.fromkeys(run[i] for run in runs)) for i in (0, 1))
    order = sorted(runs, key=lambda run: (tasks.index(run[0]), strategies.index(run[1]), run[2]))
    return [record for run in order for record in runs[run]], config


def check_settings(one: Config, other: Config, first: Path, second: Path) -> None:
    """Raises ValueError naming the first setting, data set or strategy that is not the same in both."""

    def clash(what: str, here: Any, there: Any) -> ValueError:
        return ValueError(f"{first} and {second} cannot be compared: {what} is {here} in one and {there} in the other")

    for name in SHARED:
        if one[name] != other[name]:
            raise clash(name, one[name], other[name])
    for name in set(one["datasets"]) & set(other["datasets"]):
        for part in ("features", "fingerprint"):
            here, there = (config["datasets"][name].get(part) for config in (one, other))
            if here != there:
                raise clash(f"the {part} of {name!r}", here, there)
    for name in set(one["strategies"]) & set(other["strategies"]):
        here, there = (strategy_settings(config, name) for config in (one, other))
        if here != there:
            raise clash(f"strategy {name!r}", here, there)


def strategy_settings(config: Config, name: str) -> Any:
    """What decides a strategy beside its name: the settings of AutoAL, the source of a user's class."""
    if name == AutoAL.name:
        own: dict[str, Any] = {part: config.get(part) for part in OF_AUTOAL}
        return Settings(**own).autoal().settings
    return config.get("own", {}).get(name)


def joined(one: Config, other: Config) -> Config:
    """One configuration for both."""
    with_autoal = one if AutoAL.name in one["strategies"] else other
    lists = {
        name: one.get(name, []) + other.get(name, []) for name in ("strategies", "seeds", "conditions", "measured")
    }
    return {
        **one,
        **{name: with_autoal.get(name) for name in OF_AUTOAL},
        **{name: ", ".join(dict.fromkeys(str(c[name]) for c in (one, other) if name in c)) for name in TOLD},
        **{name: [value for i, value in enumerate(many) if value not in many[:i]] for name, many in lists.items()},
        "datasets": {**one["datasets"], **other["datasets"]},
        "own": {**one.get("own", {}), **other.get("own", {})},
    }


def runs_of(records: list[Record]) -> dict[tuple[str, str, int], list[Record]]:
    """The records by (task, strategy, seed)."""
    runs: dict[tuple[str, str, int], list[Record]] = {}
    for record in records:
        runs.setdefault((task_of(record), record["strategy"], record["seed"]), []).append(record)
    return runs


def untimed(records: list[Record]) -> list[Record]:
    """The records without what differs from one execution to the next."""
    return [{key: value for key, value in record.items() if key not in SECONDS} for record in records]


def tells_enough(config: Any) -> bool:
    """Whether a configuration has what every run writes."""
    types = {"rounds": int, "datasets": dict, "strategies": list, "seeds": list}
    return (
        isinstance(config, dict)
        and all(name in config for name in SHARED)
        and all(isinstance(config.get(name), kind) for name, kind in types.items())
        and all(isinstance(one, dict) for one in config["datasets"].values())
    )


def whole(record: Any) -> bool:
    """Whether a record has what every record has."""
    return (
        isinstance(record, dict)
        and all(isinstance(record.get(name), str) for name in ("dataset", "strategy"))
        and all(isinstance(record.get(name), (int, float)) for name in NUMBERS)
    )
