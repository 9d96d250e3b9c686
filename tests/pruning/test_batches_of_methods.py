"""Which images a method sees, and when, does not depend on it: all at one seed train on the same batches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sparrow import catalogue
from sparrow.stages.prune import prune
from sparrow.stages.pruned_network import PrunerHooks
from tests.specs import initial_network

KINDS = [kind for kind in catalogue.kinds("methods") if catalogue.load("methods", kind).Params().needs == "schedule"]
# It evaluates many networks beside its training.
QUICK = {"ccrp": {"rounds": 1, "population": 2, "generations": 1, "images": 50, "pgd_steps": 1}}


def _seen(kind: str, data: Path, spec: dict, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The batches of two epochs of a method's search."""
    batches, loss = [], PrunerHooks.loss

    def recording(hooks: PrunerHooks, objective: object, images: Tensor, labels: Tensor) -> Tensor:
        batches.append(images.clone())
        return loss(hooks, objective, images, labels)

    monkeypatch.setattr(PrunerHooks, "loss", recording)
    folder.mkdir()
    spec = spec | {"objective": {"kind": "benign"}, "schedule": {"epochs": 2, "batch_size": 400, "lr": 0.01}, "ratio": 0.5}
    spec |= {"method": {"kind": kind} | QUICK.get(kind, {})}
    if "eps" in catalogue.load("methods", kind).Params.model_fields:
        spec |= {"method_threat": spec["threat"]}
    files = (folder / name for name in ("out.safetensors", "curve.csv", "trace.csv", "cost.json"))
    prune(initial_network(folder, spec), data, *files, spec)
    monkeypatch.setattr(PrunerHooks, "loss", loss)
    return batches


@pytest.fixture(scope="module")
def expected(digits: Path, training_spec: dict, tmp_path_factory: pytest.TempPathFactory) -> list[Tensor]:
    """The batches of HYDRA, which draws nothing."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        return _seen("hydra", digits, training_spec, tmp_path_factory.mktemp("batches") / "hydra", monkeypatch)


@pytest.mark.parametrize("kind", KINDS)
def test_every_method_sees_the_same_batches(
    kind: str, expected: list, digits: Path, training_spec: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = _seen(kind, digits, training_spec, tmp_path / "job", monkeypatch)
    # A method may look at a batch more than once, so each distinct one counts, in the order of its first sight.
    assert len(expected) == 6
    assert all(torch.equal(one, other) for one, other in zip(_distinct(found), expected, strict=True))


def _distinct(batches: list[Tensor]) -> list[Tensor]:
    found: list[Tensor] = []
    for batch in batches:
        if not any(torch.equal(batch, other) for other in found):
            found.append(batch)
    return found
