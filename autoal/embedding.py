"""``autoal.embed``: a pool on disk from any torch model and data set, shard by shard."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, SequentialSampler, Subset

from autoal import checks
from autoal.disk import writer
from autoal.disk.layout import FLOATS
from autoal.disk.sources import Source
from autoal.pool import Pool


def embed(
    model: nn.Module | Callable[[Any], Tensor],
    data: Dataset[Any] | DataLoader[Any],
    out: str | Path,
    *,
    batch_size: int = 64,
    num_workers: int = 0,
    device: torch.device | str | None = None,
    dtype: str | None = None,
    shard_rows: int | None = None,
) -> Pool:
    """What the model says of each sample, as a pool on disk whose rows are those of the data set.

    A call that was cut off is continued by the same call: samples of whole shards are not looked at again.

    Args:
        model: A module, which is run in eval mode, or any function; from a batch to [n, D] float.
        data: A data set, or a DataLoader that does not shuffle. Of a batch that is a tuple or list the first part is
            given to the model; one that is a mapping (of a tokenizer) is given as keyword arguments.
        out: Folder of the pool, empty or not there yet.
        batch_size: Samples given to the model together; a DataLoader has its own.
        num_workers: Processes that load samples; a DataLoader has its own.
        device: Where batches are moved to; by default where the model's first parameter is. The model is not moved.
        dtype: float32, float16 or bfloat16, as which embeddings are stored; by default as they come.
        shard_rows: As in ``Pool.write``.

    Raises:
        TypeError: If the model gives no tensor, or data is neither a data set nor a DataLoader.
        ValueError: If the DataLoader shuffles, embeddings hold NaN or Inf (rows are named), or the folder holds
            anything else.
    """
    loader = _loader(
        data, checks.as_count(batch_size, "batch_size", low=1), checks.as_count(num_workers, "num_workers")
    )
    stored = None if dtype is None else FLOATS[checks.check_choice(dtype, "dtype", tuple(FLOATS))]
    place = torch.device(device) if device is not None else _device_of(model)

    def batches(start: int) -> Iterator[Tensor]:
        for batch in _from_row(loader, start):
            yield _embedded(model, batch, place)

    with _as_in_use(model):
        writer.write(
            Path(out), Source(_origin(model, loader), batches, "embeddings"), shard_rows=shard_rows, dtype=stored
        )
    return Pool.open(out)


def _loader(data: Any, batch_size: int, num_workers: int) -> DataLoader[Any]:
    """``data`` as a loader of every sample in order."""
    if not isinstance(data, (Dataset, DataLoader)):
        raise TypeError(f"data must be a torch Dataset or DataLoader, got {checks.describe(data)}")
    loader = data if isinstance(data, DataLoader) else DataLoader(data, batch_size, num_workers=num_workers)
    if isinstance(loader.dataset, IterableDataset):
        raise TypeError(
            "data must have numbered samples, got an IterableDataset: give Pool.write its embeddings in batches"
        )
    if not isinstance(loader.sampler, SequentialSampler) or loader.batch_size is None or loader.drop_last:
        raise ValueError("data must neither shuffle nor drop_last, and make batches: row i of the pool is sample i")
    return loader


def _from_row(loader: DataLoader[Any], start: int) -> DataLoader[Any]:
    """The loader of the samples from number ``start`` on."""
    if not start:
        return loader
    rest = Subset(loader.dataset, range(start, len(loader.dataset)))  # type: ignore[arg-type]
    return DataLoader(
        rest,
        loader.batch_size,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        worker_init_fn=loader.worker_init_fn,
    )


def _embedded(model: Any, batch: Any, device: torch.device) -> Tensor:
    """[n, D] of a batch."""
    if isinstance(batch, Mapping):
        given = {name: part.to(device) if isinstance(part, Tensor) else part for name, part in batch.items()}
        found = model(**given)
    else:
        first = batch[0] if isinstance(batch, (tuple, list)) else batch
        found = model(first.to(device) if isinstance(first, Tensor) else first)
    if not isinstance(found, Tensor) or found.ndim != 2 or not found.is_floating_point():
        raise TypeError(
            f"model must give a tensor [n, D] float, got {checks.describe(found)}: "
            "give a function of the batch that does, such as lambda batch: model(batch).flatten(1)"
        )
    return found


@contextmanager
def _as_in_use(model: Any) -> Iterator[None]:
    """No gradients; a module in eval mode, and its parts as they were afterwards."""
    parts = list(model.modules()) if isinstance(model, nn.Module) else []
    training = [part.training for part in parts]
    try:
        if parts:
            model.eval()
        with torch.inference_mode():
            yield
    finally:
        for part, was in zip(parts, training, strict=True):
            part.training = was


def _device_of(model: Any) -> torch.device:
    first = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    return torch.device("cpu") if first is None else first.device


def _origin(model: Any, loader: DataLoader[Any]) -> str:
    """What tells embeddings from others: the model's weights, and how many samples there are."""
    n = len(loader.dataset)  # type: ignore[arg-type]
    if not isinstance(model, nn.Module):
        return f"embeddings of {n} samples by {getattr(model, '__qualname__', type(model).__qualname__)}"
    digest = hashlib.sha256()
    for name, values in model.state_dict().items():
        digest.update(name.encode())
        if isinstance(values, Tensor):
            digest.update(values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return f"embeddings of {n} samples by {type(model).__qualname__} {digest.hexdigest()[:16]}"
