"""A method's or an objective's file that gives something else than it should: one line that names it and what was expected."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from sparrow.errors import SparrowError
from sparrow.pruning.pruner import Pruner
from sparrow.stages.pretrain import pretrain
from sparrow.stages.prune import prune
from tests.stages.test_bad_results import NO_GRADIENT, PRETRAINING
from tests.stages.test_failure import PRUNING, Job
from tests.stages.test_failure import job as job  # A fixture.


class Halving(Pruner):
    """Keeps every other weight of each tensor, or gives what a test wants."""

    def start(self, weights, layout):
        self.weights = weights
        return []

    def end(self, weights):
        return {name: self.mask(weight) for name, weight in weights.items()}

    def mask(self, weight):
        return (torch.arange(weight.numel()) % 10 == 0).view_as(weight)


def ending(end) -> type[Pruner]:
    return type("Ending", (Halving,), {"end": lambda self, weights: end(Halving.end(self, weights))})


def losing(loss) -> type[Pruner]:
    return type("Losing", (Halving,), {"loss": lambda self, batch: loss(batch), "others": "all"})


BAD = {
    "no pruner": (lambda: None, "prepare gives None, expected a sparrow.pruning.pruner.Pruner"),
    "no list": (
        type("Starting", (Halving,), {"start": lambda self, weights, layout: None}),
        r"start gives None, expected a list of the tensors to optimise, or \[\]",
    ),
    "no masks": (ending(lambda masks: None), "end gives None, expected a dict of masks by weight's name"),
    "flattened masks": (
        ending(lambda masks: {name: mask.flatten() for name, mask in masks.items()}),
        r"end gives a tensor \((\d+),\) of bool for (\S+), expected a tensor \(.*\) of bool",
    ),
    "float masks": (
        ending(lambda masks: {name: mask.float() for name, mask in masks.items()}),
        r"end gives a tensor \(.*\) of float32 for (\S+), expected a tensor \(.*\) of bool",
    ),
}


@pytest.mark.parametrize(("pruner", "fault"), BAD.values(), ids=BAD)
def test_a_method_that_gives_something_else_is_named(job: Job, dense: Path, monkeypatch, pruner, fault: str) -> None:
    monkeypatch.setattr("sparrow.methods.random.prepare", lambda *rest: pruner())
    with pytest.raises(SparrowError) as caught:
        job.run(prune, dense, PRUNING | {"method": {"kind": "random"}})
    assert re.fullmatch(f"methods.random: {fault}", str(caught.value))


def test_a_method_that_does_as_it_should_is_taken(job: Job, dense: Path, monkeypatch) -> None:
    monkeypatch.setattr("sparrow.methods.random.prepare", lambda *rest: Halving())
    assert job.run(prune, dense, PRUNING | {"method": {"kind": "random"}}) is None


LOSSES = {
    "one for each image": (
        lambda model, images, labels: cross_entropy(model(images), labels, reduction="none"),
        "loss gives a tensor (256,) of float32, expected a scalar tensor",
    ),
    "a float": (lambda *rest: 0.5, "loss gives a value of type float, expected a scalar tensor"),
    "nothing": (lambda *rest: None, "loss gives None, expected a scalar tensor"),
}


@pytest.mark.parametrize(("loss", "fault"), LOSSES.values(), ids=LOSSES)
def test_an_objective_that_gives_no_scalar_is_named(job: Job, monkeypatch, loss, fault: str) -> None:
    monkeypatch.setattr("sparrow.objectives.benign.prepare", lambda *rest: lambda *given: loss(*given[:3]))
    with pytest.raises(SparrowError) as caught:
        job.run(pretrain, spec=PRETRAINING)
    assert str(caught.value) == f"objectives.benign: {fault}"


def test_an_objective_that_returns_no_loss_is_named(job: Job, monkeypatch) -> None:
    monkeypatch.setattr("sparrow.objectives.benign.prepare", lambda *rest: None)
    with pytest.raises(SparrowError) as caught:
        job.run(pretrain, spec=PRETRAINING)
    assert str(caught.value) == "objectives.benign: prepare gives None, expected loss(model, images, labels, progress)"


OWN_LOSSES = {
    "one for each image": (
        lambda batch: batch.model(batch.images).sum(dim=1),
        "loss gives a tensor (256,) of float32, expected",
    ),
    "cut off": (lambda batch: batch.objective().detach(), NO_GRADIENT),
}


@pytest.mark.parametrize(("loss", "fault"), OWN_LOSSES.values(), ids=OWN_LOSSES)
def test_a_methods_own_loss_is_its_own_fault(job: Job, dense: Path, monkeypatch, loss, fault: str) -> None:
    # HYDRA's Params need a schedule, so the loop is run.
    monkeypatch.setattr("sparrow.methods.hydra.prepare", lambda *rest: losing(loss)())
    with pytest.raises(SparrowError, match="^" + re.escape(f"methods.hydra: {fault}")):
        job.run(prune, dense, PRUNING | {"method": {"kind": "hydra"}})
