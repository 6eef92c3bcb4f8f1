"""``autoal datasets``: what can be named, its size, and where it comes from."""

from __future__ import annotations

import argparse

from autoal.commands.table import table
from autoal.experiment.datasets import DATASETS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def call(arguments: argparse.Namespace) -> None:
    """Prints the table."""
    rows = [
        [name, info.kind, f"{info.n_train:,} + {info.n_test:,}", str(info.n_classes), info.origin]
        for name, info in DATASETS.items()
    ]
    print(table(["name", "kind", "pool + test", "classes", "from"], rows))
    print(
        "\nor the path of an .npz with x_train, y_train, x_test, y_test (x: features [N, D] or images [N, H, W(, 3)])"
    )
