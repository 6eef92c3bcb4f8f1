"""What softmax regression takes its features to be, and what preparing them costs."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from regression import prepared

from autoal.models import softmax_regression


def memory(kind):
    """MB of this process: "VmRSS" as it is, "VmHWM" the most."""
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[kind].split()[0]) / 1024


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_prepared_features_are_the_definition_whatever_the_chunks(chunk, monkeypatch):
    monkeypatch.setattr(softmax_regression, "CHUNK", chunk)
    x = np.random.default_rng(0).normal(100, 3, (50, 6)).astype(np.float32)
    got = softmax_regression.prepare(torch.from_numpy(x))
    np.testing.assert_allclose(got.numpy(), prepared(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_what_is_prepared_stays_as_it_is(dtype):
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    before = x.clone()
    softmax_regression.prepare(x)
    assert torch.equal(x, before)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_preparing_holds_its_result_and_a_chunk(dtype):
    embeddings = torch.randn(100_000, 256, generator=torch.Generator().manual_seed(0)).to(dtype)
    softmax_regression.prepare(embeddings[:20_000])  # what is loaded on first use
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew
    before = memory("VmRSS")
    result = softmax_regression.prepare(embeddings)
    assert memory("VmHWM") - before < result.nbytes / 1024**2 + 80, "MB"
