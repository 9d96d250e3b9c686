"""What several tests start from: the digits on disk, a tiny network, and one that has learned something."""

from __future__ import annotations

import copy
import re
import shutil
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sparrow.data import store
from sparrow.files import checkpoint
from sparrow.files.csv_table import write_csv
from sparrow.files.headers import sha256
from sparrow.files.outcome_table import FAILED
from sparrow.models import cnn_small
from sparrow.networks.prunable import prunable_weights
from sparrow.stages._origin import header
from sparrow.stages.data import prepare_data
from sparrow.stages.pretrain import pretrain
from sparrow.stages.specs.training import TrainingSpec
from sparrow.versions import versions
from tests.older import save_compact
from tests.specs import data_spec, initial_network, labels

torch.set_num_threads(1)

ABOUT = ("a" * 16, "b" * 16, "c" * 16)
"""What tables made by hand say that they are about: their last three columns."""


SHARES = re.compile(r"\b(finished|swept): Checkout")
"""What a file's text has if its tests use a fixture that runs a whole study (tests/workflow/conftest.py)."""


@cache
def shares_studies(path: Path) -> bool:
    return bool(SHARES.search(path.read_text()))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole studies come first, so that no worker is left with one at the end (with `--no-loadscope-reorder`)."""
    items.sort(key=lambda item: "workflow" not in item.path.parts)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests go to workers file by file (`--dist loadfile`), and the files that share whole studies go to one worker.

    xdist 3.8 has groups for this (`--dist loadgroup`), but not with pytest 9.2 (findings/pytest-xdist-loadgroup.sh).
    """
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "studies" if shares_studies(config.rootpath / file) else file

    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """No test depends on which tests ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits, prepared."""
    path = tmp_path_factory.mktemp("data") / "digits.safetensors"
    prepare_data(path, path.with_name("cost.json"), data_spec("digits"))
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
        "cell": labels(),
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
    parent = initial_network(folder, training_spec)
    pretrain(parent, digits, folder / "dense.safetensors", folder / "curve.csv", folder / "cost.json", training_spec)
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


def _write_data(path: Path) -> None:
    """Forty images of noise, in parts."""
    noise, labels = np.random.default_rng(0), np.arange(40) % 10
    places = {"train": np.arange(20), "validation": np.arange(20, 30), "test": np.arange(30, 40)}
    about = {"dataset": {"kind": "digits", "test": 0.25}, "code": "code of the data", "versions": versions("numpy")}
    images = noise.integers(0, 17, (40, 1, 8, 8), dtype=np.uint8)
    parts = {name: store.Stored(images[place], labels[place], place) for name, place in places.items()}
    store.write(path, parts, 16, 10, "all", about)


@pytest.fixture(scope="session")
def _family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("family")
    places = _places(root)
    for path in places.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    _write_data(places["data"])
    about = store.read(places["data"], "test")[1]
    torch.manual_seed(0)
    model, masks, parent = cnn_small.build(cnn_small.Params(), (1, 8, 8), 10), {}, None
    cell = {"dataset": "digits", "model": "cnn-small", "objective": "benign", "seed": 3}
    config = {"objective": {"kind": "benign"}, "schedule": {"epochs": 2, "lr": 0.5}}
    for stage in ("dense", "pruned", "finetuned"):
        if stage == "pruned":
            cell = cell | {"method": "lwm", "ratio": 0.5}
            masks = {name: torch.rand_like(weight) > 0.5 for name, weight in prunable_weights(model).items()}
        for name, parameter in model.named_parameters():
            parameter.data.mul_(masks.get(name, torch.tensor(1.0)))
        spec = TrainingSpec(cell=cell, model={"kind": "cnn-small"}, code=f"code of {stage}", **config)
        checkpoint.save(places[stage], checkpoint.Checkpoint(model, masks, header(stage, spec, about, parent)))
        parent = places[stage]
    own = checkpoint.load(parent).header | {"parent": sha256(parent), "code": "code of cutting", "config": {}}
    own |= {"parameters_left": 22406, "cut_from": own["content"]}
    save_compact(places["compact"], copy.deepcopy(model), own)
    places["table"].write_text("index,label\n")
    return root


def _places(root: Path) -> dict[str, Path]:
    seed = root / "digits/cnn-small/benign/seed3"
    cell = seed / "lwm-0.50"
    return {
        "data": root / "digits/data.safetensors",
        "dense": seed / "dense.safetensors",
        "pruned": cell / "pruned.safetensors",
        "finetuned": cell / "finetuned.safetensors",
        "compact": cell / "finetuned/compact.safetensors",
        "table": cell / "finetuned/attacks/pgd.csv",
    }


@pytest.fixture
def family(_family: Path, tmp_path: Path) -> SimpleNamespace:
    """Untrained files of one cell, laid out as in a study's folder, each naming the one that it was made from; `root`."""
    shutil.copytree(_family, tmp_path / "family")
    return SimpleNamespace(root=tmp_path / "family", **_places(tmp_path / "family"))


def write_failed(path: Path, reason: str) -> None:
    """A table of a network that could not be evaluated."""
    write_csv(path, FAILED, [(reason, *ABOUT)])


def replace_network(path: Path) -> None:
    """Another network in a checkpoint's place: the same header, and a bias that has changed."""
    loaded = checkpoint.load(path)
    loaded.model.get_parameter("7.bias").data.add_(1)
    checkpoint.save(path, loaded)
