"""Laps add up by stage and by part."""

from autoal.search import stopwatch
from autoal.search.stopwatch import Stopwatch


def test_parts_add_up_to_their_stage(monkeypatch):
    now = iter([0.0, 1.0, 3.0, 6.0, 10.0])
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: next(now))
    clock = Stopwatch()
    for name in ("fit_net", "outputs", "candidates", "outputs"):
        clock.lap(name)
    assert clock.seconds == {"inference": 7.0, "fit_net": 1.0, "outputs": 6.0, "candidates": 3.0}
