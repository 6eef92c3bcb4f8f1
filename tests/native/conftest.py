"""Settings of the process that tests of the native kernels change."""

import pytest

from autoal import _core


@pytest.fixture(autouse=True)
def settings_are_put_back():
    isa, threads = _core.cpu.isa(), _core.cpu.num_threads()
    yield
    _core.cpu.set_isa(isa)
    _core.cpu.set_num_threads(threads)
