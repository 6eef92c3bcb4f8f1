"""A user's own strategy class in a grid: what tells it from others, and how a worker process finds it."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from dataclasses import dataclass, field

from autoal import checks
from autoal.experiment.boss import ORACLE_STRATEGIES
from autoal.strategies import STRATEGIES, Strategy


@dataclass(frozen=True)
class OwnStrategy:
    """A class, and what decides whether it is the one that a stored cell was run with.

    Attributes:
        cls: The class; made with no arguments.
        path: ``module:qualified name``.
        source: SHA-256 of its source text: an edited class is another one.
    """

    cls: type[Strategy] = field(repr=False)
    path: str
    source: str

    @staticmethod
    def of(cls: type[Strategy]) -> OwnStrategy:
        """Of the class ``cls``; ValueError if its source cannot be read."""
        try:
            source = inspect.getsource(cls)
        except (OSError, TypeError):
            raise ValueError(
                f"strategy class {cls.__qualname__} has no source file, so its finished cells could not be told from "
                "those of another version: define it in a file"
            ) from None
        return OwnStrategy(cls, f"{cls.__module__}:{cls.__qualname__}", hashlib.sha256(source.encode()).hexdigest())

    @staticmethod
    def imported(path: str, source: str) -> OwnStrategy:
        """The one that ``path`` names, in a process that may not have met it yet."""
        module, _, name = path.partition(":")
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        return OwnStrategy(found, path, source)  # type: ignore[arg-type]

    def check_importable(self) -> None:
        """Raises ValueError if another process could not import the class."""
        module, _, name = self.path.partition(":")
        reason = None
        if module == "__main__":
            reason = "it is defined in the script that is running"
        elif "<locals>" in name:
            reason = "it is defined within a function"
        elif not any(finder.find_spec(module.partition(".")[0], None) for finder in sys.meta_path):
            reason = f"there is no module {module!r} on the import path"
        if reason:
            raise ValueError(
                f"strategy class {name} cannot be imported by worker processes ({reason}): "
                "put it into a module of its own, or pass jobs=1"
            )


def named(strategy: str | type[Strategy]) -> tuple[str, OwnStrategy | None]:
    """What results call a strategy, and its class where it is a user's.

    Raises:
        TypeError: If it is neither a name nor a class.
        ValueError: If the name is unknown, or a user's class has the name of another strategy.
    """
    if isinstance(strategy, str):
        if strategy not in STRATEGIES and strategy not in ORACLE_STRATEGIES:  # an experiment may grant the labels
            raise checks.unknown_name("strategy", strategy, [*STRATEGIES, *ORACLE_STRATEGIES])
        cls = STRATEGIES.get(strategy)
        added = cls is not None and cls.__module__.partition(".")[0] != "autoal"  # to the dict, in this process only
        return strategy, OwnStrategy.of(cls) if cls is not None and added else None
    if not (isinstance(strategy, type) and issubclass(strategy, Strategy)):
        raise TypeError(
            "strategies must be names or classes of autoal.strategies.Strategy (an object serves one run), "
            f"got {checks.describe(strategy)}"
        )
    name = getattr(strategy, "name", strategy.__name__)
    if STRATEGIES.get(name) is strategy:
        return named(name)
    if name in STRATEGIES or name in ORACLE_STRATEGIES:
        raise ValueError(f"strategy class {strategy.__qualname__} is called {name!r}, as another strategy: rename it")
    return name, OwnStrategy.of(strategy)
