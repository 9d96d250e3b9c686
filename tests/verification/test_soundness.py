"""No verifier claims what is not so: 200 random images of small random networks, against many points and a strong attack."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.adversary.geometry import distance, project
from sparrow.adversary.margin import margin
from sparrow.attacks import pgd
from sparrow.settings import Threat
from sparrow.verification.decision import decide_by
from sparrow.verifiers import branch_and_bound

NETWORKS, IMAGES, CLASSES, POINTS = 40, 5, 3, 400
SEARCH = {"domains": 200, "iterations": 2}
KINDS = {
    "ibp": {},
    "crown-ibp": {},
    "crown": {},
    "alpha-crown": {"iterations": 3},
    "cascade": {"bounds": ["ibp", "crown-ibp", "crown", "alpha-crown", "branch-and-bound"], **SEARCH},
    "branch-and-bound": {"attack_steps": 5, "attack_restarts": 1, **SEARCH},
}
"""Verifiers, and settings that make slow ones quick."""


class Case(NamedTuple):
    """Images that a network gets right (n, c, h, w), their labels, and the smallest margin found around each of them."""

    model: nn.Sequential
    images: Tensor
    labels: Tensor
    threat: Threat
    worst: Tensor


def _dense() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, CLASSES))


def _deep() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, CLASSES))


def _conv() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 3, 2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(36, CLASSES))


def _normalised() -> nn.Sequential:
    layers = nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 3, 1), nn.ReLU(), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(6, CLASSES))


def _network(seed: int) -> nn.Sequential:
    """Weights of one to three times torch's own size; every third network is pruned by a third."""
    model = (_dense, _deep, _conv, _normalised)[seed % 4]().eval()
    scale = 1 + 2 * torch.rand(())
    for parameter in model.parameters():
        parameter.data.mul_(scale)
        if seed % 3 == 0:
            parameter.data.mul_(torch.rand_like(parameter) > 1 / 3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2)
    return model


def _spread(images: Tensor, threat: Threat) -> Tensor:
    """Points of the perturbation sets (points, n, c, h, w), half of them as far out as it goes: corners, or on the sphere."""
    shape = (POINTS, *images.shape)
    if threat.norm == "linf":
        offsets = 2 * torch.rand(shape) - 1
        offsets[::2] = offsets[::2].sign()
    else:
        offsets = torch.randn(shape)
        radii = torch.rand(POINTS, len(images)) ** (1 / images[0].numel())
        radii[::2] = 1
        offsets = offsets * (radii / offsets.flatten(2).norm(dim=2)).view(*shape[:2], 1, 1, 1)
    centres = images.expand(shape).flatten(0, 1)
    return project(centres + threat.eps * offsets.flatten(0, 1), centres, threat).view(shape)


def _worst(model: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
    """The smallest margin (n,) that points spread at random and PGD come upon."""
    attack = pgd.attack(model, images, labels, pgd.Params(steps=20, restarts=4), threat, CLASSES)
    points = torch.cat([_spread(images, threat), project(attack, images, threat).unsqueeze(0), images.unsqueeze(0)])
    with torch.no_grad():
        margins = margin(model(points.flatten(0, 1)), labels.repeat(len(points)))
    return margins.view(len(points), -1).amin(dim=0)


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """Networks of four kinds, with balls of both norms."""
    built = []
    for seed in range(NETWORKS):
        torch.manual_seed(seed)
        model, images = _network(seed), torch.rand(IMAGES, 1, 2, 3)
        labels = model(images).argmax(dim=1)
        norm = "l2" if seed % 8 >= 4 else "linf"
        threat = Threat(norm=norm, eps=(0.02 + 0.3 * torch.rand(()).item()) * (2 if norm == "l2" else 1))
        built.append(Case(model, images, labels, threat, _worst(model, images, labels, threat)))
    return built


@pytest.mark.parametrize("kind", KINDS)
def test_no_claim_is_refuted(kind: str, cases: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    search = branch_and_bound.search

    def spy(model: nn.Module, image: Tensor, label: int, *rest: object) -> branch_and_bound.Answer:
        found.append((image, label, search(model, image, label, *rest)))
        return found[-1][2]

    monkeypatch.setattr(branch_and_bound, "search", spy)
    entry = catalogue.load("verifiers", kind)
    verified = falsified = open_linf = 0
    for number, (model, images, labels, threat, worst) in enumerate(cases):
        found.clear()
        decision = decide_by(entry, kind, model, images, labels, entry.Params(**KINDS[kind]), threat, CLASSES)
        verified, falsified = verified + int(decision.verified.sum()), falsified + int(decision.falsified.sum())
        open_linf += threat.norm == "linf" and int((~(decision.verified | decision.falsified)).sum())
        assert (decision.margins[~decision.falsified] <= worst[~decision.falsified] + 1e-4).all(), f"network {number}"
        assert (worst[decision.verified] > 0).all(), f"network {number}"
        assert (decision.margins[decision.verified] > 0).all()
        assert (decision.margins[~decision.verified] <= 0).all()
        assert not (decision.verified & decision.falsified).any()
        examples = [(image, label, answer.example) for image, label, answer in found if answer.example is not None]
        assert len(examples) == int(decision.falsified.sum())
        for image, label, example in examples:
            assert distance(example, image, threat.norm) <= threat.eps + 1e-6
            assert example.min() >= 0
            assert example.max() <= 1
            assert int(model(example).argmax()) != label
    # So that none of this was about nothing.
    assert len(cases) * IMAGES >= 200
    assert verified > 40
    if kind in ("cascade", "branch-and-bound"):
        assert falsified > 25
        # In l_inf, where leaves are solved exactly, these networks do not need so many domains.
        assert open_linf == 0
    else:
        assert (falsified, open_linf > 0) == (0, True)


def test_images_are_of_all_sorts(cases: list[Case]) -> None:
    # Some broken, some far from it, some near.
    worst = torch.cat([case.worst for case in cases])
    assert (worst <= 0).sum() > 25
    assert (worst > 0.1).sum() > 40
    assert (worst.abs() < 0.1).sum() > 20
