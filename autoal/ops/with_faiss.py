"""FAISS, where it is installed: exact search in a tile, and inverted files; on the CPU, or the GPU that has the rows.

Nothing else imports FAISS. Tensors on CUDA need its GPU build; what is on the CPU stays there with either build.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from autoal.ops.rows import Rows, prepared, sampled

TRAIN_PER_LIST = 64  # rows per list that the index's k-means sees
FEWEST_PER_LIST = 39  # below, FAISS warns that lists are badly trained
GPU_MOST = 2048  # neighbors, and lists probed, that FAISS on GPUs takes
BLOCK = 1 << 22  # numbers handed to the index together


def import_faiss() -> Any:
    """The module, or None where it is not installed."""
    try:
        import faiss
    except ImportError:
        return None
    return faiss


def sees_gpu() -> bool:
    """Whether this is a GPU build of FAISS and a device is live."""
    faiss = import_faiss()
    return faiss is not None and hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0


def computes_on(device: torch.device) -> bool:
    """Whether FAISS can search rows that lie on this device."""
    return import_faiss() is not None and (device.type == "cpu" or (device.type == "cuda" and sees_gpu()))


def smallest(q: Tensor, x: Tensor, k: int, metric: str) -> tuple[Tensor, Tensor]:
    """Of q [P, D] and x [R, D], prepared: what orders the k nearest [P, k], ascending, and their positions in x."""
    if q.is_cuda:
        with torch.cuda.device(q.device):
            far, positions = _torch_faiss().knn_gpu(
                _gpu_resources(), q, x, k, metric=_kind(metric), device=q.device.index
            )
    else:
        found = import_faiss().knn(q.numpy(), x.numpy(), k, metric=_kind(metric))
        far, positions = map(torch.from_numpy, found)
    return far if metric == "l2" else -far, positions


class InvertedFile:
    """An IVF index over all rows of x: about sqrt(N) lists of rows near one another. It holds a float32 copy of them.

    Attributes:
        lists: How many.
    """

    def __init__(self, x: Rows, shift: Tensor, metric: str) -> None:
        self.lists = max(1, min(int(len(x) ** 0.5), len(x) // FEWEST_PER_LIST))
        self._device = torch.cuda.device(x.device if x.on_cuda else -1)  # -1: nothing is switched
        self._prepare = functools.partial(prepared, shift=shift, metric=metric)
        with self._device:
            self._index = self._gpu_index(x, metric) if x.on_cuda else self._cpu_index(x, metric)
            self._index.train(self._given(x[sampled(len(x), TRAIN_PER_LIST * self.lists, seed=0).to(x.device)]))
            for part in x.parts(max(1, BLOCK // x.width)):
                self._index.add(self._given(part))

    def search(self, q: Rows, k: int, nprobe: int) -> Tensor:
        """Positions [Q, k] in x of the k nearest rows in ``nprobe`` lists, or in as many more as it takes to find k."""
        with self._device:
            found = [self._found(part, k, nprobe) for part in q.parts(max(1, BLOCK // q.width))]
        return torch.cat(found)

    def _cpu_index(self, x: Rows, metric: str) -> Any:
        faiss, kind = import_faiss(), _kind(metric)
        return faiss.IndexIVFFlat(faiss.IndexFlat(x.width, kind), x.width, self.lists, kind)

    def _gpu_index(self, x: Rows, metric: str) -> Any:
        faiss = _torch_faiss()
        self.lists = min(self.lists, GPU_MOST)
        config = faiss.GpuIndexIVFFlatConfig()
        config.device = x.device.index
        return faiss.GpuIndexIVFFlat(_gpu_resources(), x.width, self.lists, _kind(metric), config)

    def _found(self, q: Tensor, k: int, nprobe: int) -> Tensor:
        self._index.nprobe = min(nprobe, self.lists)
        found = torch.as_tensor(self._index.search(self._given(q), k)[1])
        while len(short := (found < 0).any(1).nonzero()[:, 0]):  # fewer than k rows in the lists
            self._index.nprobe = min(2 * self._index.nprobe, self.lists)
            found[short] = torch.as_tensor(self._index.search(self._given(q[short]), k)[1])
        return found

    def _given(self, rows: Tensor) -> Any:
        rows = self._prepare(rows)
        return rows if rows.is_cuda else rows.numpy()


def _kind(metric: str) -> int:
    faiss = import_faiss()
    return int(faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT)


def _torch_faiss() -> Any:
    """FAISS taking torch tensors, in the order of torch's current stream."""
    import faiss.contrib.torch_utils  # replaces methods of FAISS by ones that take tensors as well as arrays

    return faiss


@functools.cache
def _gpu_resources() -> Any:
    return import_faiss().StandardGpuResources()  # a gigabyte of scratch memory: one for all calls
