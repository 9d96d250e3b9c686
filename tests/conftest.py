"""What several tests start from: the digits on disk, a tiny network, and one that has learned something."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sparrow.stages.data import prepare_data
from sparrow.stages.pretrain import pretrain

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """No test depends on which tests ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits, prepared."""
    path = tmp_path_factory.mktemp("data") / "digits.safetensors"
    prepare_data(path, path.with_name("cost.json"), {"kind": "digits"})
    return path


@pytest.fixture
def tiny() -> nn.Module:
    """A seeded network from 1 x 4 x 4 images to 4 classes, with a convolution and two linear layers."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 4)
    )


@pytest.fixture(scope="session")
def training_spec() -> dict:
    """What a training stage is told, short enough for a test and long enough to learn something."""
    return {
        "cell": {"seed": 0},
        "code": "test",
        "model": {"kind": "cnn-small"},
        "objective": {"kind": "adversarial", "steps": 3},
        "threat": {"norm": "linf", "eps": 0.05},
        "schedule": {"epochs": 6, "batch_size": 64, "optimizer": "adam", "lr": 0.005},
    }


@pytest.fixture(scope="session")
def dense(digits: Path, training_spec: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of a CNN-small that gets most digits right; tests must not write to it."""
    folder = tmp_path_factory.mktemp("dense")
    pretrain(digits, folder / "dense.safetensors", folder / "curve.csv", folder / "cost.json", training_spec)
    return folder / "dense.safetensors"


class _Block(nn.Module):
    """Two convolutions with batch norm and a shortcut around them, which has a convolution of its own if sizes change."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, padding=1, bias=False), nn.BatchNorm2d(out)
        projection = nn.Sequential(nn.Conv2d(channels, out, 1, stride), nn.BatchNorm2d(out))
        self.shortcut = nn.Identity() if (channels, stride) == (out, 1) else projection

    def forward(self, images: Tensor) -> Tensor:
        inside = self.bn2(self.conv2(self.bn1(self.conv1(images)).relu()))
        return (inside + self.shortcut(images)).relu()


@pytest.fixture
def residual() -> nn.Module:
    """A seeded residual network from 1 x 8 x 8 images to 3 classes, its batch norms anything but the identity."""
    torch.manual_seed(0)
    stem = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()
    network = nn.Sequential(*stem, _Block(4, 4, 1), _Block(4, 6, 2), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(24, 3))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 2)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_()
    return network.eval()
