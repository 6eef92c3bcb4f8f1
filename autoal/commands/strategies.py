"""``autoal strategies``: what exists and what each needs."""

from __future__ import annotations

import argparse

from autoal.commands.table import table
from autoal.strategies import STRATEGIES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def call(arguments: argparse.Namespace) -> None:
    """Prints the table."""
    rows = [
        [name, ", ".join(strategy.needs) or "-", (strategy.__doc__ or "").strip().splitlines()[0], strategy.reference]
        for name, strategy in STRATEGIES.items()
    ]
    print(table(["name", "needs", "asks for", "from"], rows))
