"""The torch ops: schemas and fakes hold, CPU tensors reach the compiled kernels, nothing else does in their stead."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from autoal import ops
from autoal.ops import native, reference

PROBS = torch.full((6, 4), 0.25)
POINTS = torch.arange(18.0).reshape(6, 3)
NO_CENTERS = torch.empty(0, dtype=torch.int64)
ONES = torch.ones(6)
SLOPE = torch.arange(1.0, 7.0)  # equal weights of POINTS would tie, and rounding decide
CALLS = {
    "uncertainty_scores": (PROBS, True, 1e-3),
    "mc_uncertainty_scores": (PROBS[None], True, 1e-3),
    "squared_norms": (POINTS,),
    "kcenter_greedy": (POINTS, None, NO_CENTERS, 2, 3),
    "kmeanspp": (POINTS, -1, 3, 7),
    "gradient_kmeanspp": (PROBS, True, 1e-3, POINTS, 3, 7),
    "coverage_greedy": (POINTS, None, torch.arange(6), SLOPE, None, ONES, 0 * ONES, NO_CENTERS, 0.01, 3),
}
OPTIONS = {
    **CALLS,
    "kcenter_greedy with centers": (POINTS, torch.rand(6), torch.tensor([1, 4]), -1, 2),
    "coverage_greedy of drawn targets": (
        *(POINTS, ONES, torch.tensor([1, 4]), ONES[:2], ONES / 3, ONES, ONES / 9, torch.tensor([0]), 0.1, 2),
    ),
    "mc_uncertainty_scores with strides": (PROBS[None].permute(1, 0, 2), True, 1e-3),
}


def op(name):
    return getattr(torch.ops.autoal, name.split()[0])


def on(device, arguments):
    return tuple(a.to(device) if isinstance(a, torch.Tensor) else a for a in arguments)


@pytest.mark.parametrize("name", OPTIONS)
def test_opcheck(name, device):
    torch.library.opcheck(op(name).default, on(device, OPTIONS[name]))


@pytest.mark.parametrize("name", ["kcenter_greedy", "kmeanspp", "gradient_kmeanspp"])
def test_opcheck_where_rows_are_excluded(name, device):
    torch.library.opcheck(op(name).default, on(device, CALLS[name]), {"excluded": torch.tensor([0, 1], device=device)})


@pytest.mark.parametrize("name", CALLS)
def test_each_key_has_its_own_kernel(name):
    for key in ("CPU", "CUDA", "CompositeExplicitAutograd", "Meta"):
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"autoal::{name}", key)


@pytest.mark.parametrize("name", CALLS)
def test_the_compiled_kernel_runs_and_the_reference_does_not(name, monkeypatch):
    seen = []
    kernel = getattr(native.cpu, name)
    monkeypatch.setattr(native.cpu, name, lambda *a: seen.append(name) or kernel(*a))
    for function in ("distributions", "_d2_sampling", "squared_norms", "first_row"):
        monkeypatch.setattr(reference, function, None)
    op(name)(*CALLS[name])
    assert seen == [name]


@pytest.mark.parametrize("name", CALLS)
def test_kernel_equals_reference(name, device):
    ours, theirs = (f(*on(device, CALLS[name])) for f in (op(name), getattr(reference, name)))
    pairs = [(ours, theirs)] if isinstance(ours, torch.Tensor) else zip(ours, theirs, strict=True)
    for a, b in pairs:
        assert a.dtype == b.dtype and a.device == b.device
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", CALLS)
def test_shapes_without_data(name):
    fake = op(name)(*on("meta", CALLS[name]))
    real = op(name)(*CALLS[name])
    pairs = [(fake, real)] if isinstance(fake, torch.Tensor) else zip(fake, real, strict=True)
    for a, b in pairs:
        assert a.device.type == "meta" and a.shape == b.shape and a.dtype == b.dtype


def test_compiled_graphs_may_hold_the_ops():
    def step(x):
        return torch.ops.autoal.squared_norms(2 * x) + 1

    compiled = torch.compile(step, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(POINTS), step(POINTS))


@pytest.mark.skipif(native.built_with_cuda, reason="this build has CUDA kernels")
def test_a_build_without_cuda_says_so():
    with pytest.raises(RuntimeError, match=r"no CUDA kernels: reinstall .*AUTOAL_CUDA=ON pip install"):
        native.cuda()


@pytest.mark.skipif(ops.backends()["cuda"]["live"], reason="a CUDA device is live")
def test_a_machine_without_cuda_says_why():
    cuda = ops.backends()["cuda"]
    assert cuda["devices"] == [] and cuda["reason"]
    with pytest.raises(RuntimeError, match="CUDA kernels"):
        native.cuda()


def test_without_the_compiled_module_the_error_says_how_to_build_it():
    code = "import sys; sys.modules['autoal._core'] = None; import autoal.ops"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ImportError: autoal's compiled module" in done.stderr and "pip install -e ." in done.stderr


@pytest.mark.gpu
def test_another_stream(device, lattice):
    if device == "cpu":
        pytest.skip("CPU tensors know no streams")
    x = lattice(20_000, 64)
    expected = native.kcenter_greedy(x, None, NO_CENTERS, 0, 100)[0]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        torch.cuda._sleep(10**8)  # whoever does not wait for this reads zeros
        produced = torch.zeros(x.shape, device=device).copy_(x.pin_memory(), non_blocking=True)
        picks = [native.kcenter_greedy(produced, None, NO_CENTERS, 0, 100, p)[0] for p in (native.LAZY, native.PLAIN)]
        picks.append(torch.ops.autoal.kcenter_greedy(produced, None, NO_CENTERS.to(device), 0, 100)[0])
        consumed = torch.stack(picks) + 0
    side.synchronize()
    assert all(torch.equal(row, expected) for row in consumed.cpu())


@pytest.mark.gpu
def test_a_captured_graph(device, lattice):
    if device == "cpu":
        pytest.skip("CPU tensors know no graphs")
    x = lattice(3000, 16).to(device)
    probs = torch.full((3000, 4), 0.25, device=device)
    calls = (
        lambda: ops.uncertainty_scores(x).entropy,
        lambda: ops.mc_uncertainty_scores(x[None]).bald,
        lambda: ops.kcenter_greedy(x, 5, first=0),
        lambda: native.kcenter_greedy(x, None, NO_CENTERS, 0, 80, native.LAZY)[0],
        lambda: native.kcenter_greedy(x, None, NO_CENTERS, 0, 80, native.PLAIN)[0],
        lambda: ops.kmeanspp(x, 5),
        lambda: ops.kmeanspp(x, 60),
        lambda: ops.gradient_kmeanspp(probs, x, 5, kind="probs"),
        lambda: ops.gradient_kmeanspp(probs, x, 60, kind="probs"),
    )
    expected = [call() for call in calls]
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = [call() for call in calls]
    graph.replay()
    torch.cuda.synchronize()
    for ours, theirs in zip(captured, expected, strict=True):
        assert torch.equal(ours, theirs)
