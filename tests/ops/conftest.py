"""What tests of the CPU kernels run over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from autoal.ops import native


@pytest.fixture(params=native.cpu.isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set that this processor runs, in turn."""
    best = native.cpu.isa()
    native.cpu.set_isa(request.param)
    yield str(request.param)
    native.cpu.set_isa(best)
