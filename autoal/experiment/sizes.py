"""Sizes that may depend on the number of classes: 20, "C" (or "classes"), "2C"."""

from __future__ import annotations

import re

from autoal import checks

MULTIPLE = re.compile(r"([1-9][0-9]*)?(C|classes)")

Size = int | str  # labels, or a multiple of the number of classes


def check_size(size: Size, name: str) -> None:
    """Raises ValueError (TypeError) if ``size`` is neither a count nor a multiple of the classes."""
    if not isinstance(size, str):
        checks.as_count(size, name, low=1)
    elif not MULTIPLE.fullmatch(size):
        raise ValueError(f"{name} must be an integer, or a multiple of the classes such as C or 2C; got {size!r}")


def labels_of(size: Size, n_classes: int) -> int:
    """The size in labels, for a data set of ``n_classes``."""
    if isinstance(size, str):
        found = MULTIPLE.fullmatch(size)
        assert found is not None, "check_size comes first"
        return int(found[1] or 1) * n_classes
    return size


def parse_size(text: str) -> Size:
    """A size as written on the command line."""
    return int(text) if text.lstrip("-").isdecimal() else text
