"""Statistics of batch norm taken anew after pruning: what they are, what they bring, and where they change nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from sparrow.data.augmentation import Augmentation
from sparrow.data.store import Part, read
from sparrow.errors import NetworkError
from sparrow.files import checkpoint
from sparrow.networks.prunable import norm_layers
from sparrow.stages import _norm_statistics
from sparrow.stages._norm_statistics import recompute
from sparrow.stages.pretrain import pretrain
from sparrow.stages.prune import prune
from tests.specs import initial_network


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(48, 5), nn.BatchNorm1d(5, momentum=0.2)).eval()


def part(images: int, augmentation: Augmentation | None = None) -> Part:
    pixels = torch.randint(0, 256, (images, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Part(pixels, torch.zeros(images, dtype=torch.long), torch.arange(images), 255, augmentation or Augmentation())


def test_statistics_are_those_of_the_training_images_by_hand() -> None:
    model, images = network(), part(200, Augmentation(crop=1, flip=True))
    recompute(model, images)
    first = model[0](images.images)
    assert torch.allclose(model[1].running_mean, first.mean((0, 2, 3)), atol=1e-6)
    assert torch.allclose(model[1].running_var, first.var((0, 2, 3)), rtol=1e-5)
    # The next norm sees what this one gives in training; dropout is out of it.
    spread = (first.var((0, 2, 3), unbiased=False) + 1e-5).sqrt()
    second = model[5](((first - first.mean((0, 2, 3)).view(3, 1, 1)) / spread.view(3, 1, 1)).relu().flatten(1))
    assert torch.allclose(model[6].running_mean, second.mean(0), atol=1e-5)
    assert torch.allclose(model[6].running_var, second.var(0), rtol=1e-4)
    assert (model[1].momentum, model[6].momentum) == (0.1, 0.2)
    assert not any(module.training for module in model.modules())


def test_statistics_are_those_of_pytorch_s_own_update(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_norm_statistics, "BATCH", 30)
    ours, theirs, images = network(), network(), part(91)
    del ours[3], theirs[3]
    recompute(ours, images)
    # The last image alone would be no batch: 30, 30 and 31.
    update_bn(list(images.images.split([30, 30, 31])), theirs)
    for own, other in zip(norm_layers(ours), norm_layers(theirs), strict=True):
        assert torch.allclose(own.running_mean, other.running_mean, atol=1e-6)
        assert torch.allclose(own.running_var, other.running_var, rtol=1e-5)


def test_one_image_has_no_statistics() -> None:
    with pytest.raises(NetworkError, match="norm_statistics: recompute"):
        recompute(network(), part(1))


def run(dense: Path, data: Path, spec: dict, folder: Path, **method: object) -> Path:
    folder.mkdir()
    output = folder / "pruned.safetensors"
    own = spec | {"method": {"kind": "lwm", **method}, "ratio": 0.9}
    prune(dense, data, output, folder / "curve.csv", folder / "trace.csv", folder / "cost.json", own)
    return output


def accuracy(path: Path, data: Path) -> float:
    images, _ = read(data, "validation")
    with torch.no_grad():
        return float((checkpoint.load(path).model(images.images).argmax(dim=1) == images.labels).float().mean())


def test_recomputed_statistics_lift_a_pruned_network(digits: Path, training_spec: dict, tmp_path: Path) -> None:
    spec = training_spec | {"model": {"kind": "cnn7"}, "objective": {"kind": "benign"}}
    spec["schedule"] = {"epochs": 3, "batch_size": 64, "optimizer": "adam", "lr": 0.003}
    dense = tmp_path / "dense.safetensors"
    pretrain(initial_network(tmp_path, spec), digits, dense, tmp_path / "curve.csv", tmp_path / "cost.json", spec)
    kept, anew = (run(dense, digits, spec, tmp_path / how, norm_statistics=how) for how in ("kept", "recompute"))
    assert accuracy(dense, digits) > 0.9
    assert accuracy(kept, digits) < 0.3
    assert accuracy(anew, digits) > 0.6
    one, other = checkpoint.load(kept), checkpoint.load(anew)
    assert all(torch.equal(mask, other.masks[name]) for name, mask in one.masks.items())
    parameters = zip(one.model.parameters(), other.model.parameters(), strict=True)
    assert all(torch.equal(own, same) for own, same in parameters)


def test_a_network_without_batch_norm_is_left_as_it_is(dense: Path, digits: Path, training_spec: dict, tmp_path: Path) -> None:
    # The same label in both headers: what is compared are the networks.
    paths = [run(dense, digits, training_spec, tmp_path / how, norm_statistics=how) for how in ("kept", "recompute")]
    kept, anew = (checkpoint.load(path).model.state_dict() for path in paths)
    assert kept.keys() == anew.keys()
    assert all(torch.equal(kept[name], anew[name]) for name in kept)
