"""autoal.embed: row i is what the model says of sample i, from any data set, and on from where it was cut off."""

import os
import signal

import numpy as np
import pytest
import torch
from pools import SHARD_ROWS, in_child, numbers
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import autoal

X = torch.from_numpy(numbers(600, 16))


class Samples(TensorDataset):
    """Samples with labels; remembers which were asked for, and may be the last thing that its process does."""

    def __init__(self, fatal=-1):
        super().__init__(X, torch.arange(len(X)))
        self.fatal, self.asked = fatal, []

    def __getitem__(self, index):
        if index == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        self.asked.append(index)
        return super().__getitem__(index)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 64), nn.BatchNorm1d(64), nn.Dropout(0.5))


def expected(model):
    model.eval()
    with torch.no_grad():
        found = torch.cat([model(part) for part in X.split(64)])
    model.train()
    return found


def test_rows_are_the_samples(tmp_path, model):
    truth = expected(model)
    model[2].eval()
    pool = autoal.embed(model, Samples(), tmp_path / "a", shard_rows=SHARD_ROWS)
    assert torch.equal(pool.x, truth) and pool.x.shape == (600, 64)
    assert [part.training for part in model] == [True, True, False], "as it was"
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(autoal.embed(model, DataLoader(Samples(), 64), tmp_path / "b").x, truth)
    assert torch.equal(autoal.embed(model, TensorDataset(X), tmp_path / "c", dtype="float16").x, truth.half())

    def collate(samples):
        return {"input": torch.stack([x for x, _ in samples]), "note": "text"}

    model.eval()
    loader = DataLoader(Samples(), 64, collate_fn=collate)
    assert torch.equal(autoal.embed(lambda input, note: model(input), loader, tmp_path / "d").x, truth)


def test_cut_off_it_goes_on_after_the_last_whole_shard(tmp_path, model):
    options = {"out": tmp_path / "pool", "batch_size": 50, "shard_rows": SHARD_ROWS}
    assert in_child(lambda: autoal.embed(model, Samples(fatal=570), **options)) == -signal.SIGKILL
    with pytest.raises(ValueError, match="unfinished pool of 512 rows"):
        autoal.Pool.open(tmp_path / "pool")
    other = nn.Sequential(*model[:1])
    with pytest.raises(ValueError, match="another source"):
        autoal.embed(other, Samples(), **options)
    samples = Samples()
    pool = autoal.embed(model, samples, **options)
    assert samples.asked == list(range(512, 600))
    assert torch.allclose(pool.x, expected(model), atol=1e-6)
    assert np.array_equal(autoal.ops.kmeanspp(pool, 5), autoal.ops.kmeanspp(pool.x.numpy(), 5))


def test_what_cannot_be_embedded_is_refused(tmp_path, model):
    class Endless(IterableDataset):
        def __iter__(self):
            return iter(X)

    with pytest.raises(TypeError, match=r"data must be a torch Dataset or DataLoader, got \(600, 16\)"):
        autoal.embed(model, X, tmp_path)
    with pytest.raises(TypeError, match="IterableDataset: give Pool"):
        autoal.embed(model, Endless(), tmp_path)
    for loader in (DataLoader(Samples(), shuffle=True), DataLoader(Samples(), 7, drop_last=True)):
        with pytest.raises(ValueError, match="neither shuffle nor drop_last"):
            autoal.embed(model, loader, tmp_path)
    with pytest.raises(TypeError, match=r"model must give a tensor \[n, D\] float, got \(64, 4, 4\) float32"):
        autoal.embed(lambda x: x.view(-1, 4, 4), Samples(), tmp_path)
    with pytest.raises(ValueError, match="embeddings holds NaN or Inf in rows 0, 1, 2"):
        autoal.embed(lambda x: x * torch.nan, Samples(), tmp_path)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        autoal.embed(model, Samples(), tmp_path, batch_size=0)
