"""S2AP needs one loss at two points: objectives whose perturbed images cannot be had again are refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow.errors import SparrowError
from sparrow.objectives import adversarial
from sparrow.settings import Threat
from sparrow.stages.prune import prune
from sparrow.training import inner_replay
from sparrow.training.objective_params import RobustParams


def own_pgd(model: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
    """Two steps of PGD, as somebody would write them down."""
    found = (images + threat.eps * (2 * torch.rand_like(images) - 1)).clamp(0, 1)
    for _ in range(2):
        found = found.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(functional.cross_entropy(model(found), labels), found)
        found = (found + threat.eps * gradient.sign()).clamp(images - threat.eps, images + threat.eps).clamp(0, 1)
    return found.detach()


def past_solve(model: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
    """The network's cross-entropy on the images that `own_pgd` finds."""
    return functional.cross_entropy(model(own_pgd(model, images, labels, threat)), labels)


def through_solve(model: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
    """The same, with the search inside `solve`."""
    return functional.cross_entropy(model(inner_replay.solve(lambda: own_pgd(model, images, labels, threat))), labels)


def past_the_hooks(model: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
    """As `past_solve`, of a network that nobody sees being asked."""
    return functional.cross_entropy(model.forward(own_pgd(model.forward, images, labels, threat)), labels)


def without_a_search(model: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
    """A loss of the images as they are."""
    return functional.cross_entropy(model(images), labels)


def drifting(model: nn.Module, images: Tensor, labels: Tensor, threat: Threat) -> Tensor:
    """A loss of images that depend on the weights, without a gradient by them."""
    with torch.no_grad():
        shift = next(model.parameters()).abs().mean()
    return functional.cross_entropy(model(images * shift), labels)


@pytest.fixture
def pruned_by(dense: Path, digits: Path, training_spec: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Prunes by HYDRA on an objective of one's own."""

    def run(loss, perturbs: bool, gamma: float = 0.1, **schedule: object) -> None:
        class Params(RobustParams):
            pass

        Params.perturbs = perturbs
        own = lambda params, threat: lambda model, images, labels, progress: loss(model, images, labels, threat)  # noqa: E731
        monkeypatch.setattr(adversarial, "Params", Params)
        monkeypatch.setattr(adversarial, "prepare", own)
        spec = training_spec | {
            "objective": {"kind": "adversarial"},
            "method": {"kind": "hydra", "s2ap_gamma": gamma},
            "ratio": 0.9,
            "schedule": {"epochs": 1, "batch_size": 500, "lr": 0.1} | schedule,
        }
        prune(dense, digits, *(tmp_path / name for name in ("p.safetensors", "c.csv", "t.csv", "cost.json")), spec)

    return run


VALID = (
    "valid: perturbed images that come from sparrow.training.inner_replay.solve, or a method without (of S2AP, s2ap_gamma: 0)"
)


@pytest.mark.parametrize(
    ("loss", "perturbs", "reason"),
    [
        (past_solve, True, "takes a gradient by its input outside of sparrow.training.inner_replay.solve"),
        (past_solve, False, "takes a gradient by its input outside of sparrow.training.inner_replay.solve"),
        (past_the_hooks, True, "says that it perturbs images, and its loss has not called"),
        (without_a_search, True, "says that it perturbs images, and its loss has not called"),
        (drifting, False, "gives the network other images when a batch's loss is computed again"),
    ],
)
def test_perturbed_images_that_cannot_be_had_again_are_refused(loss, perturbs: bool, reason: str, pruned_by) -> None:
    with pytest.raises(SparrowError) as caught:
        pruned_by(loss, perturbs)
    told = str(caught.value)
    assert told.startswith(f"objectives.adversarial: {reason}")
    assert told.endswith(VALID)
    assert "\n" not in told


@pytest.mark.parametrize(("loss", "perturbs"), [(through_solve, True), (through_solve, False), (without_a_search, False)])
def test_others_are_taken(loss, perturbs: bool, pruned_by) -> None:
    pruned_by(loss, perturbs)


def test_without_s2ap_all_are_taken(pruned_by) -> None:
    pruned_by(past_solve, True, gamma=0.0)


def test_before_the_ramp_nothing_has_to_be_perturbed(pruned_by) -> None:
    pruned_by(without_a_search, True, warmup_epochs=1)
