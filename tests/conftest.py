"""What many tests share: devices and dtypes to run over, and data on which float32 sums are exact."""

from __future__ import annotations

from collections.abc import Callable

import hypothesis
import pytest
import torch
from torch import Tensor

hypothesis.settings.register_profile("autoal", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("autoal")

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(1)  # the tests' tensors are small, and OpenMP's barriers spin where other processes run
    config.addinivalue_line("markers", "gpu: runs on a CUDA device, skipped where none is live")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """Each device in turn; CUDA is skipped, saying why, where it is not live."""
    if request.param == "cuda":
        from autoal import ops

        reason = ops.backends()["cuda"]["reason"]
        if reason:
            pytest.skip(f"no CUDA: {reason}")
    return str(request.param)


@pytest.fixture(params=list(DTYPES))
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """Each dtype that the kernels read."""
    return DTYPES[request.param]


@pytest.fixture(scope="session")
def lattice() -> Callable[..., Tensor]:
    """Makes small random integers [n, d]: every sum is exact in float32, so all backends must agree bit for bit."""

    def make(n: int, d: int, *, seed: int = 0, high: int = 4) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(-high, high + 1, (n, d), generator=generator).float()

    return make
