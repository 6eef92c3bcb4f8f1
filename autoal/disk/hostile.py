"""Reading what others wrote: only regular files, only JSON that means one thing, and numbers within bounds."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn


@contextmanager
def opened(path: Path, *, follow: bool = True) -> Iterator[BinaryIO]:
    """The file, for reading; ``follow`` says whether it may be a symbolic link.

    Raises:
        ValueError: If it is not there or no regular file: a pipe would wait for ever, a device never end.
    """
    more = os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | more))  # noqa: SIM115
    except OSError as error:
        linked = error.errno == errno.ELOOP and not follow
        reason = "is a symbolic link" if linked else f"cannot be read: {error.strerror}"
        raise ValueError(f"{path} {reason}") from None
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"{path} is no regular file")
        yield file


def size_of(file: BinaryIO) -> int:
    """Bytes of an open file."""
    return os.fstat(file.fileno()).st_size


def json_object(text: bytes) -> dict[str, Any]:
    """The JSON object in ``text``.

    Raises:
        ValueError: If it is none, is nested too deeply, or says something twice, of which readers take this or that.
    """
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise ValueError(f"no JSON that can be read ({reason})") from None
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


def require_keys(value: dict[str, Any], keys: tuple[str, ...], what: str) -> None:
    """Raises ValueError unless ``value`` has exactly these keys."""
    if set(value) != set(keys):
        odd = sorted(set(value) ^ set(keys))[0]
        raise ValueError(f"{what} must have {', '.join(keys)}; {odd!r} is {'unknown' if odd in value else 'missing'}")


def count(value: Any, what: str, low: int = 0) -> int:
    """``value`` if it is an integer of at least ``low`` that fits 63 bits; JSON's true and 1.0 are none."""
    if type(value) is not int or not low <= value < 2**63:
        shown = value if type(value) is int else type(value).__name__
        raise ValueError(f"{what} must be an integer of at least {low}, got {str(shown)[:20]}")
    return value


def counts(value: Any, what: str, most: int, low: int = 0) -> tuple[int, ...]:
    """``value`` if it is a list of at most ``most`` such integers."""
    if not isinstance(value, list) or len(value) > most:
        raise ValueError(f"{what} must be a list of at most {most} integers")
    return tuple(count(part, what, low) for part in value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key comes twice")
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
