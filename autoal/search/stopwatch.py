"""Seconds by stage of a query."""

from __future__ import annotations

import time


class Stopwatch:
    """``lap(stage)`` books the time since the last lap under that name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Ends a stage."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now
