"""autoal: which samples to label next, and which query strategy fits the task.

Names are imported when they are first used, so that ``import autoal`` costs nothing until torch is needed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoal import distributed, models, ops, strategies
    from autoal.constraints import Constraints, ShortQueryWarning
    from autoal.embedding import embed
    from autoal.learner import ActiveLearner, Round
    from autoal.oracle import DataSetOracle, NoisyOracle
    from autoal.pool import Pool
    from autoal.search.autoal import AutoAL
    from autoal.selection import select
    from autoal.strategies import Strategy
    from autoal.types import Context, Outputs, Query

__version__ = "0.1.0"

_HOME = {
    "ActiveLearner": "autoal.learner",
    "AutoAL": "autoal.search.autoal",
    "Constraints": "autoal.constraints",
    "Context": "autoal.types",
    "DataSetOracle": "autoal.oracle",
    "NoisyOracle": "autoal.oracle",
    "Outputs": "autoal.types",
    "Pool": "autoal.pool",
    "Query": "autoal.types",
    "Round": "autoal.learner",
    "ShortQueryWarning": "autoal.constraints",
    "Strategy": "autoal.strategies",
    "embed": "autoal.embedding",
    "select": "autoal.selection",
}
_MODULES = ("distributed", "models", "ops", "strategies")

__all__ = [
    "ActiveLearner",
    "AutoAL",
    "Constraints",
    "Context",
    "DataSetOracle",
    "NoisyOracle",
    "Outputs",
    "Pool",
    "Query",
    "Round",
    "ShortQueryWarning",
    "Strategy",
    "distributed",
    "embed",
    "models",
    "ops",
    "select",
    "strategies",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"autoal.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'autoal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
