"""What was run, as ``config.json`` tells it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

import autoal
from autoal import models, ops
from autoal.experiment.cells import Settings
from autoal.experiment.conditions import Condition
from autoal.experiment.datasets import DataSet
from autoal.experiment.own_strategy import OwnStrategy

Config = dict[str, Any]


def free_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def config_of(
    data: Sequence[DataSet],
    fingerprints: Mapping[str, str],
    strategies: Mapping[str, OwnStrategy | None],
    seeds: Sequence[int],
    settings: Settings,
    condition: Condition,
) -> Config:
    """The configuration of a grid: data, strategies, seeds, settings, and the versions that they were run with."""
    return {
        "autoal": autoal.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "cpu": ops.backends()["cpu"]["isa"],
        "cores": free_cores(),
        "datasets": {
            one.name: {
                "source": one.source,
                "features": one.features,
                "fingerprint": fingerprints[one.name],
                "pool": len(one.x_train),
                "test": len(one.x_test),
                "classes": one.n_classes,
            }
            for one in data
        },
        "strategies": list(strategies),
        "own": {name: [own.path, own.source] for name, own in strategies.items() if own is not None},
        "seeds": list(seeds),
        **asdict(settings),
        "device": models.find_device(settings.device).type,
        "conditions": [condition.label],
    }
