"""Task models: they learn, give what is asked for, and are reproducible."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from autoal import models
from autoal.models.network_model import batches, shuffled_batches
from autoal.models.networks import initialized
from autoal.models.resnet import resnet18


@pytest.fixture(scope="module")
def digits():
    images, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))  # the set is sorted by writer
    images, y = images[order], y[order]
    return (images.reshape(-1, 8, 8) * 15.9).astype(np.uint8), y


def fitted(name, digits, n=300, seed=0, **changes):
    x, y = torch.from_numpy(digits[0]), digits[1]
    model = models.make(name, device="cpu")
    for key, value in changes.items():
        setattr(model, key, value)
    model.look(x)
    model.fit(x[:n], y[:n], 10, seed=seed)
    return model, x, y


@pytest.mark.parametrize(("name", "least"), [("linear", 0.88), ("mlp", 0.88), ("cnn", 0.85)])
def test_learns_digits(name, least, digits):
    model, x, y = fitted(name, digits)
    assert np.mean(model.predict(x[300:]) == y[300:]) > least


def test_resnet18_learns_its_training_samples():
    g = torch.Generator().manual_seed(0)
    y = torch.arange(24) % 3
    x = (40 * y[:, None, None, None] + torch.randint(60, (24, 8, 8, 3), generator=g)).to(torch.uint8)
    model = models.make("resnet18", device="cpu")
    model.epochs, model.MIN_STEPS = 8, 8
    model.look(x)
    model.fit(x, y.numpy(), 3, seed=0)
    assert np.mean(model.predict(x) == y.numpy()) > 0.9
    outputs = model.outputs(x, {"embeddings"}, seed=0)
    assert outputs.embeddings.shape == (24, 512)


@pytest.mark.parametrize("name", ["linear", "mlp", "cnn"])
class TestEveryModel:
    def test_outputs_that_are_asked_for_and_no_others(self, name, digits):
        model, x, _ = fitted(name, digits, 60)
        outputs = model.outputs(x[:50], {"logits", "embeddings", "mc_logits"}, seed=1)
        t, n, c = outputs.mc_logits.shape
        assert (n, c) == (50, 10) and t >= 10
        assert outputs.logits.shape == (50, 10) and len(outputs.embeddings) == 50
        only = model.outputs(x[:50], {"logits"}, seed=1)
        assert only.embeddings is None and only.mc_logits is None
        assert torch.equal(only.logits, outputs.logits)
        np.testing.assert_array_equal(model.predict(x[:50]), outputs.logits.argmax(1).numpy())

    def test_mc_samples_vary_around_the_logits(self, name, digits):
        model, x, _ = fitted(name, digits, 60)
        outputs = model.outputs(x[:50], {"logits", "mc_logits"}, seed=1)
        spread = outputs.mc_logits.std(0)
        assert (spread > 0).all()
        error = (outputs.mc_logits.mean(0) - outputs.logits).abs()
        assert float((error / (spread / len(outputs.mc_logits) ** 0.5)).mean()) < 1.5
        other = model.outputs(x[:50], {"mc_logits"}, seed=2)
        assert not torch.equal(other.mc_logits, outputs.mc_logits)

    def test_same_seed_same_model_and_no_global_state(self, name, digits):
        torch.manual_seed(5)
        before = torch.get_rng_state()
        first = fitted(name, digits, 60, seed=3)[0]
        assert torch.equal(before, torch.get_rng_state())
        torch.manual_seed(6)
        second = fitted(name, digits, 60, seed=3)[0]
        x = torch.from_numpy(digits[0][:40])
        one, two = (m.outputs(x, {"logits", "mc_logits"}, seed=1) for m in (first, second))
        assert torch.equal(one.logits, two.logits) and torch.equal(one.mc_logits, two.mc_logits)

    def test_one_label_and_one_class(self, name, digits):
        model, x, _ = fitted(name, digits, 1)
        assert len(model.predict(x[:7])) == 7

    def test_unfitted(self, name, digits):
        model = models.make(name, device="cpu")
        model.look(torch.from_numpy(digits[0]))
        with pytest.raises(RuntimeError, match="call fit first"):
            model.predict(torch.from_numpy(digits[0][:3]))


def test_linear_is_the_softmax_regression_of_scikit_learn(digits):
    model, x, y = fitted("linear", digits, 200)
    embeddings = model.outputs(x, {"embeddings"}, seed=0).embeddings.double().numpy()
    assert np.square(embeddings).sum(1).mean() == pytest.approx(128, rel=1e-4)
    # scikit-learn leaves the intercept unpenalised; as a column of ones it is penalised like ours
    design = np.column_stack([embeddings, np.ones(len(x))])
    theirs = LogisticRegression(C=1 / 10, fit_intercept=False, tol=1e-8, max_iter=2000).fit(design[:200], y[:200])
    logits = model.outputs(x, {"logits"}, seed=0).logits.double()
    ours = torch.softmax(logits, 1).numpy()
    np.testing.assert_allclose(ours, theirs.predict_proba(design), atol=2e-3)


def test_linear_takes_features_and_keeps_the_pools_embeddings(digits):
    x = torch.from_numpy(digits[0]).reshape(len(digits[0]), -1).float()
    model = models.make("linear", device="cpu")
    model.look(x)
    model.fit(x[:50], digits[1][:50], 10, seed=0)
    first, second = (model.outputs(x, {"embeddings"}, seed=s).embeddings for s in (0, 1))
    assert first is second, "strategies recognise an unchanged pool by it"


def test_convolutional_nets_say_that_they_need_images():
    x = torch.zeros(10, 5)
    for name in ("cnn", "resnet18"):
        with pytest.raises(ValueError, match="needs images"):
            models.make(name, device="cpu").look(x)


def test_names_and_devices():
    with pytest.raises(ValueError, match="Did you mean 'linear'"):
        models.make("linaer")
    with pytest.raises(ValueError, match="unknown device"):
        models.make("linear", device="gpu0")
    with pytest.raises(TypeError, match="model must be"):
        models.resolve(3)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="torch sees no CUDA device"):
            models.make("linear", device="cuda")


def test_initialisation_depends_on_the_generator_alone():
    def build():
        return initialized(lambda: resnet18(3, 1), torch.Generator().manual_seed(4))

    torch.manual_seed(0)
    one = build()
    torch.manual_seed(1)
    two = build()
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    assert all(p.isfinite().all() for p in one.state_dict().values())


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 127, 128, 129])
def test_an_epoch_has_as_many_batches_as_the_schedule_counts(n):
    parts = list(shuffled_batches(n, 64, torch.Generator().manual_seed(0)))
    assert len(parts) == batches(n, 64)
    assert torch.cat(parts).sort().values.tolist() == list(range(n))
    assert n == 1 or min(map(len, parts)) > 1


@pytest.mark.parametrize("constant", [None, 1e5, 20240101.0])
@pytest.mark.parametrize("unit", [1e-30, 1e-3, 1.0, 1e19])
def test_the_unit_and_constant_columns_do_not_matter(constant, unit):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    x = ((np.eye(3)[y] * 4 + rng.standard_normal((300, 3))) * unit).astype(np.float32)
    if constant is not None:
        x = np.column_stack([x, np.full(len(x), constant, np.float32)])
    for name in ("linear", "mlp") if unit >= 1e-3 else ("linear",):
        model = models.make(name, device="cpu")
        model.look(torch.from_numpy(x))
        model.fit(torch.from_numpy(x[:60]), y[:60], 3, seed=0)
        assert np.mean(model.predict(torch.from_numpy(x)) == y) > 0.9
