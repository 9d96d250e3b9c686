"""What happens when the file of an entry gives something else than it should: a line that names it, and never a wrong number."""

from __future__ import annotations

from pathlib import Path

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
NO_GRADIENT = "its loss has no gradient; valid: no `detach()`, comparison or `torch.no_grad()` on the way to it"


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
    with pytest.raises(SparrowError, match="^objectives.benign: " + NO_GRADIENT.replace("()", r"\(\)") + "$"):
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
    with pytest.raises(SparrowError, match="^attacks.fgsm: " + NO_GRADIENT.replace("()", r"\(\)") + "$"):
        job.run(attack, dense, ATTACK)
