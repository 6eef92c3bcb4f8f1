"""Whatever holds the numbers, every op reads the same pool and answers in kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode

from autoal import ops
from autoal.ops import contract

CALLS = {
    "uncertainty_scores": lambda x: ops.uncertainty_scores(x),
    "mc_uncertainty_scores": lambda x: ops.mc_uncertainty_scores(x[None]),
    "kcenter_greedy": lambda x: ops.kcenter_greedy(x, 5, return_radius=True),
    "kmeanspp": lambda x: (ops.kmeanspp(x, 5),),
    "gradient_kmeanspp": lambda x: (ops.gradient_kmeanspp(x, x, 5),),
    "knn": lambda x: ops.knn(x, x, 3),
    "kmeans": lambda x: ops.kmeans(x, 4)[:3],
    "typicality": lambda x: ops.typicality(x, 3)[:1],
}


@pytest.fixture
def pool(lattice):
    return lattice(30, 6).numpy()


def read_only(x, _):
    x = x.copy()
    x.flags.writeable = False
    return x


def memmap(x, folder):
    np.save(folder / "x.npy", x)
    return np.load(folder / "x.npy", mmap_mode="r")


FORMS = {
    "read-only": read_only,
    "memory map": memmap,
    "float64": lambda x, _: x.astype(np.float64),
    "float16": lambda x, _: x.astype(np.float16),
    "big-endian": lambda x, _: x.astype(">f4"),
    "columns first": lambda x, _: np.asfortranarray(x),
    "every other column": lambda x, _: np.repeat(x, 2, axis=1)[:, ::2],
    "reversed twice": lambda x, _: np.ascontiguousarray(x[::-1])[::-1],
    "transposed tensor": lambda x, _: torch.from_numpy(x.T.copy()).T,
    "float64 tensor": lambda x, _: torch.from_numpy(x).double(),
    "bfloat16 tensor": lambda x, _: torch.from_numpy(x).bfloat16(),
    "parameter": lambda x, _: torch.nn.Parameter(torch.from_numpy(x.copy())),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("op", CALLS)
def test_same_pool_same_answer(op, form, pool, tmp_path):
    expected = CALLS[op](pool)
    given = FORMS[form](pool, tmp_path)
    for ours, theirs in zip(CALLS[op](given), expected, strict=True):
        assert isinstance(theirs, np.ndarray)
        assert isinstance(ours, torch.Tensor if isinstance(given, torch.Tensor) else np.ndarray)
        np.testing.assert_array_equal(np.asarray(ours), theirs)


@pytest.mark.parametrize("op", CALLS)
def test_inputs_stay_as_they_were(op, pool):
    before = pool.copy()
    CALLS[op](pool)
    np.testing.assert_array_equal(pool, before)


@pytest.mark.parametrize("op", CALLS)
def test_devices_agree_bit_for_bit_on_a_lattice(op, pool, device):
    for ours, theirs in zip(CALLS[op](torch.from_numpy(pool).to(device)), CALLS[op](pool), strict=True):
        assert ours.device.type == device
        if op in ("uncertainty_scores", "mc_uncertainty_scores"):  # exponentials round
            np.testing.assert_allclose(ours.cpu().numpy(), theirs, atol=1e-6)
        else:
            np.testing.assert_array_equal(ours.cpu().numpy(), theirs)


@pytest.mark.parametrize("op", ["kcenter_greedy", "kmeanspp", "gradient_kmeanspp"])
def test_threads_do_not_matter(op):
    x = torch.randn(3000, 20, generator=torch.Generator().manual_seed(0))
    threads = ops.backends()["cpu"]["threads"]
    answers = []
    try:
        for n in (1, 2, 3):
            ops.set_num_threads(n)
            answers.append(CALLS[op](x))
    finally:
        ops.set_num_threads(threads)
    for answer in answers[1:]:
        assert all(torch.equal(a, b) for a, b in zip(answers[0], answer, strict=True))


def test_memory_maps_are_read_in_place(pool, tmp_path):
    mapped = memmap(pool, tmp_path)
    assert contract.matrix(mapped, "embeddings", "[N, D]").data_ptr() == mapped.ctypes.data


def test_global_random_state_is_left_alone(pool):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    for call in CALLS.values():
        call(pool)
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)


def test_more_rows_than_cuda_numbers_are_refused():
    with FakeTensorMode():
        x = torch.empty(contract.MAX_CUDA_ROWS + 1, 2, device="cuda")
        for op in (ops.kcenter_greedy, ops.coverage_greedy, lambda x, k: ops.gradient_kmeanspp(x, x, k)):
            with pytest.raises(ValueError, match="may have at most 4,294,967,294 rows on CUDA, got 4,294,967,295"):
                op(x, 1)
        contract.check_rows(torch.empty(contract.MAX_CUDA_ROWS, 2, device="cuda"), "x")
        contract.check_rows(torch.empty(2**32, 2), "x")
