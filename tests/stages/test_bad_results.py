"""What happens when the file of an entry does not do what it should: a line that names it, and never a wrong number."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sparrow.errors import SparrowError
from sparrow.stages.attack import attack
from sparrow.stages.pretrain import pretrain
from tests.stages.test_failure import EVALUATION, TRAINING, Job
from tests.stages.test_failure import job as job  # A fixture.

PRETRAINING = TRAINING | {"cell": {"dataset": "digits", "model": "cnn-small", "objective": "benign", "seed": 0}}
ATTACK = EVALUATION | {"attack": {"kind": "fgsm", "samples": 40}}
NO_GRADIENT = "its loss has no gradient (a `detach()`, a comparison, `torch.no_grad()`?)"


class Deaf(nn.Module):
    """A network whose logits have no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images.flatten(1)).detach()


def plain(model, images, labels, progress):
    return cross_entropy(model(images), labels)


def detached(model, images, labels, progress):
    return plain(model, images, labels, progress).detach()


def differentiated(model, images, labels, progress):
    loss = cross_entropy(model(images), labels)
    (gradient,) = torch.autograd.grad(loss.detach(), images.requires_grad_())
    return loss + gradient.sum()


def test_a_network_without_gradients_is_a_gap_with_all_its_files(job: Job, monkeypatch) -> None:
    monkeypatch.setattr("sparrow.models.cnn_small.build", lambda *rest: Deaf())
    told = job.run(pretrain, spec=PRETRAINING)
    assert "it hands no gradient back" in told
    # The workflow waits for all of them.
    assert job.files() == {"output", "curve.csv", "cost.json"}


@pytest.mark.parametrize("loss", [detached, differentiated])
def test_an_objective_without_a_gradient_is_an_error_and_no_gap(job: Job, monkeypatch, loss) -> None:
    monkeypatch.setattr("sparrow.objectives.benign.prepare", lambda params, threat: loss)
    with pytest.raises(SparrowError, match=re.escape(f"objectives.benign: {NO_GRADIENT}")):
        job.run(pretrain, spec=PRETRAINING)
    assert job.files() == set()


def attacking(monkeypatch, function) -> None:
    monkeypatch.setattr("sparrow.attacks.fgsm.attack", function)


def test_an_attack_without_a_gradient_is_an_error_and_no_gap(job: Job, dense: Path, monkeypatch) -> None:
    def cut(model, images, labels, params, threat, classes):
        images = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(cross_entropy(model(images).detach(), labels), images)
        return images + threat.eps * gradient.sign()

    attacking(monkeypatch, cut)
    with pytest.raises(SparrowError, match=re.escape(f"attacks.fgsm: {NO_GRADIENT}")):
        job.run(attack, dense, ATTACK)


def giving(of):
    """An attack that gives `of(images)`, of images a step brighter than they were."""

    def function(model, images, labels, params, threat, classes):
        return of((images + threat.eps).clamp(0, 1))

    return function


NO_IMAGES = {
    "one for all": (lambda images: images[:1], "a tensor (1, 1, 8, 8) of float32"),
    "flattened": (lambda images: images.flatten(1), "of float32"),
    "double": (lambda images: images.double(), "of float64"),
    "bytes": (lambda images: (255 * images).byte(), "of uint8"),
    "nothing": (lambda images: None, "None"),
    "a pair": (lambda images: (images, images), "a value of type tuple"),
}


@pytest.mark.parametrize(("of", "given"), NO_IMAGES.values(), ids=NO_IMAGES)
def test_an_attack_that_gives_no_images_of_that_shape_is_an_error(job: Job, dense: Path, monkeypatch, of, given: str) -> None:
    attacking(monkeypatch, giving(of))
    expected = r"for images \(\d+, 1, 8, 8\), expected a tensor \(\d+, 1, 8, 8\) of float32$"
    with pytest.raises(SparrowError, match=rf"^attacks\.fgsm: attack gives .*{re.escape(given)} {expected}"):
        job.run(attack, dense, ATTACK)


def test_images_that_are_not_finite_are_counted_and_told_of(job: Job, dense: Path, monkeypatch, capsys) -> None:
    def holes(images: Tensor) -> Tensor:
        images[::2, 0, 0, 0] = torch.nan
        return images

    attacking(monkeypatch, giving(holes))
    job.run(attack, dense, ATTACK)
    table = pd.read_csv(job.path("output"))
    attacked = int((table["prediction"] == table["label"]).sum())
    line = f"{(attacked + 1) // 2} of {attacked} attacked images came back with pixels that are not finite"
    line += ", which count as unchanged"
    assert set(table["flags"]) == {line}
    assert f"warning: {line}\n" in capsys.readouterr().out


def moved(model: nn.Module) -> None:
    with torch.no_grad():
        next(model.parameters()).mul_(0.9)


@pytest.mark.parametrize(("change", "what"), [(moved, "weights"), (nn.Module.train, "mode")])
def test_an_attack_that_changes_the_network_is_an_error(job: Job, dense: Path, monkeypatch, change, what: str) -> None:
    def function(model, images, labels, params, threat, classes):
        change(model)
        return images

    attacking(monkeypatch, function)
    with pytest.raises(SparrowError, match=f"^attacks.fgsm: changes the network's {what}"):
        job.run(attack, dense, ATTACK)
