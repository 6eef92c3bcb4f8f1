"""Task models. ``MODELS`` maps names to classes; ``make`` builds one; ``resolve`` takes a name or an object."""

from __future__ import annotations

import torch

from autoal import checks
from autoal.models.base import TaskModel
from autoal.models.linear import LinearModel
from autoal.models.network_model import CNNModel, MLPModel, NetworkModel, ResNet18Model

MODELS: dict[str, type[LinearModel] | type[NetworkModel]] = {
    "linear": LinearModel,
    "mlp": MLPModel,
    "cnn": CNNModel,
    "resnet18": ResNet18Model,
}
DEVICES = ("auto", "cpu", "cuda")


def make(name: str, *, device: str = "auto") -> TaskModel:
    """A new model.

    Args:
        name: A key of ``MODELS``.
        device: ``"auto"`` is CUDA where a device is there, else the CPU.

    Raises:
        ValueError: If the name or the device is unknown, or CUDA is asked for and not there.
    """
    if name not in MODELS:
        raise checks.unknown_name("model", name, MODELS)
    return MODELS[name](find_device(device))  # type: ignore[call-arg]


def find_device(name: str) -> torch.device:
    """The torch device meant by ``"auto"``, ``"cpu"`` or ``"cuda"``; ValueError if it is not there."""
    checks.check_choice(name, "device", DEVICES)
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for but torch sees no CUDA device: use device 'auto' or 'cpu'")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def resolve(model: str | TaskModel) -> TaskModel:
    """The model meant by a name or an object; TypeError if it is something else."""
    if isinstance(model, str):
        return make(model)
    if isinstance(model, TaskModel):
        return model
    raise TypeError(f"model must be a name or an autoal.models.TaskModel, got {checks.describe(model)}")


__all__ = ["MODELS", "TaskModel", "find_device", "make", "resolve"]
