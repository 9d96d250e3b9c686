"""Attacks on networks that keep images in memory as they like: the same as on their twins that do not."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.settings import Threat
from sparrow.verifiers import branch_and_bound

QUICK = {"autoattack": {"steps": 5, "queries": 20}, "pgd": {"steps": 5}, "fmn": {"steps": 20}}
CASES = [
    (kind, Threat(norm=norm, eps=eps))
    for kind in catalogue.kinds("attacks")
    for norm, eps in (("linf", 0.05), ("l2", 0.5))
    if norm in catalogue.load("attacks", kind).Params.norms and not catalogue.load("attacks", kind).Params.transfers
]


class Transposed(nn.Module):
    """The network of images whose rows and columns are swapped first: a view, not a copy."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, images: Tensor) -> Tensor:
        return self.inside(images.permute(0, 1, 3, 2))


class Gathered(Transposed):
    """The same, pixel by pixel: its gradient is contiguous."""

    def forward(self, images: Tensor) -> Tensor:
        order = torch.arange(36).view(6, 6).T.flatten()
        return self.inside(images.flatten(2)[:, :, order].view_as(images))


def _network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 5)
    return nn.Sequential(*layers).eval()


def _broken(kind: str, model: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
    entry = catalogue.load("attacks", kind)
    torch.manual_seed(1)
    found = entry.attack(model, images, labels, entry.Params(**QUICK.get(kind, {})), threat, 5)
    far = (found - images).flatten(1).norm(dim=1, p=torch.inf if threat.norm == "linf" else 2)
    return (model(found).argmax(dim=1) != labels) & (far <= threat.eps * (1 + 1e-5))


@pytest.mark.parametrize("layout", ["channels_last", "permute", "channels_last images"])
@pytest.mark.parametrize(("kind", "threat"), CASES, ids=[f"{kind} {threat.norm}" for kind, threat in CASES])
def test_a_layout_does_not_change_what_an_attack_finds(kind: str, threat: Threat, layout: str) -> None:
    plain, images = _network(), torch.rand(24, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    labels = plain(images).argmax(dim=1)
    if layout == "permute":
        plain = Gathered(plain)
        labels = plain(images).argmax(dim=1)
    expected = _broken(kind, plain, images, labels, threat)
    assert 0 < int(expected.sum()) < len(labels)
    model = copy.deepcopy(plain)
    if layout == "channels_last":
        model = model.to(memory_format=torch.channels_last)
    elif layout == "permute":
        model = Transposed(model.inside)
    else:
        images = images.contiguous(memory_format=torch.channels_last)
    # Sums in another order may turn one comparison.
    assert int((_broken(kind, model, images, labels, threat) != expected).sum()) <= 1


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_branch_and_bound_attacks_a_network_that_permutes_first(norm: str) -> None:
    model, image = Transposed(_network()), torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    label = int(model(image).argmax())
    threat = Threat(norm=norm, eps={"linf": 0.5, "l2": 5.0}[norm])
    example, margin = branch_and_bound._attack(model, image, label, branch_and_bound.Params(attack_steps=5), threat)
    assert int(model(example).argmax()) != label
    assert margin < 0
