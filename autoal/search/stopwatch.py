"""Seconds by stage of a query, and by the parts of a stage."""

from __future__ import annotations

import time

# What FitNet does for all: it is fitted, its outputs (MC samples too) are taken, its uncertainty is calibrated.
STAGE_OF_PART = {
    "fit_net": "inference",
    "outputs": "inference",
    "calibration": "inference",
    "neighbors": "search",
}


class Stopwatch:
    """``lap(name)`` books the time since the last lap under that name: a stage, or a part and so its stage too."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Ends a stage or a part of one."""
        now = time.perf_counter()
        for booked in dict.fromkeys((STAGE_OF_PART.get(name, name), name)):
            self.seconds[booked] = self.seconds.get(booked, 0.0) + now - self._last
        self._last = now
