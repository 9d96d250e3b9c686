"""Dense and sparse training begin with the same network, and what it is does not depend on who draws it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.errors import CheckpointError, SparrowError
from sparrow.files import checkpoint
from sparrow.files.headers import read_header, sha256
from sparrow.files.lineage import chain
from sparrow.reproducible import derive_seed, seed_everything
from sparrow.stages._training import loss_function, training_data
from sparrow.stages.initial import initial
from sparrow.stages.pretrain import pretrain
from sparrow.stages.prune import prune
from sparrow.stages.specs.training import TrainingSpec
from sparrow.training.loop import train
from tests.specs import initial_network, labels

IBP = {"kind": "crown-ibp", "initialisation": "ibp"}


@pytest.mark.parametrize("objective", [{"kind": "adversarial", "steps": 2}, IBP], ids=["adversarial", "ibp"])
def test_dense_networks_are_those_of_one_job(digits: Path, training_spec: dict, tmp_path: Path, objective: dict) -> None:
    """As if pre-training drew the weights itself: the global generator goes on from there."""
    told = training_spec | {"objective": objective, "schedule": training_spec["schedule"] | {"epochs": 1}}
    pretrain(initial_network(tmp_path, told), digits, tmp_path / "dense.safetensors", tmp_path / "c.csv", tmp_path / "j", told)
    spec = TrainingSpec(**told)
    generator = seed_everything(0, "pretrain")
    parts, about = training_data(digits, torch.device("cpu"), None)
    entry, params = catalogue.from_spec("models", spec.model)
    model = entry.build(params, about.shape, about.classes)
    if objective is IBP:
        drawn, settings = catalogue.from_spec("objectives", IBP)
        drawn.initialise(settings, model, torch.Generator().manual_seed(derive_seed(0, "initialise")))
    train(model, loss_function(spec.objective, spec.threat), parts, spec.schedule, list(model.parameters()), generator)
    found = checkpoint.load(tmp_path / "dense.safetensors").model.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in model.state_dict().items())


def test_a_chain_begins_with_the_initial_network(digits: Path, training_spec: dict, tmp_path: Path) -> None:
    family = tmp_path / "digits/cnn-small/adversarial/seed0"
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits/data.safetensors").write_bytes(digits.read_bytes())
    first = initial_network(family, training_spec)
    (family / "lwm-0.90").mkdir()
    method = {"cell": labels(method="lwm", ratio=0.9), "method": {"kind": "lwm"}, "ratio": 0.9}
    files = [family / "lwm-0.90" / name for name in ("pruned.safetensors", "c.csv", "t.csv", "j")]
    prune(first, digits, *files, {key: training_spec[key] for key in ("code", "model")} | method)
    header = read_header(files[0])
    assert (header["parent"], header["parent_stage"]) == (sha256(first), "initial")
    assert [(link.what, link.state) for link in chain(files[0])] == [("data set", "ok"), ("initial", "ok"), ("pruned", "")]


def test_an_initial_network_for_other_images_is_refused(digits: Path, training_spec: dict, tmp_path: Path) -> None:
    other = initial_network(tmp_path, training_spec, shape=(1, 12, 12))
    with pytest.raises(CheckpointError, match=r"takes images of \(1, 12, 12\) and 10 classes; .* has \(1, 8, 8\) and 10"):
        pretrain(other, digits, tmp_path / "dense.safetensors", tmp_path / "c.csv", tmp_path / "j", training_spec)


def test_a_network_that_cannot_be_drawn_is_a_gap(training_spec: dict, tmp_path: Path, monkeypatch) -> None:
    def infinite(params: object, shape: object, classes: object) -> torch.nn.Module:
        layer = torch.nn.Linear(64, 10)
        layer.weight.data.fill_(float("inf"))
        return torch.nn.Sequential(torch.nn.Flatten(), layer)

    monkeypatch.setattr("sparrow.models.cnn_small.build", infinite)
    spec = {key: training_spec[key] for key in ("cell", "code", "model")} | {"shape": (1, 8, 8), "classes": 10}
    told = initial(tmp_path / "initial.safetensors", tmp_path / "cost", spec)
    assert "not finite" in told
    assert "not finite" in read_header(tmp_path / "initial.safetensors")["failed"]


class Wide(nn.Module):
    """A network of a pair of logits too many, or of another kind of answer."""

    def __init__(self, answer: str) -> None:
        super().__init__()
        self.answer, self.last = answer, nn.LazyLinear(10) if answer == "lazy" else nn.Linear(64, 12)

    def forward(self, images: Tensor) -> object:
        logits = self.last(images if self.answer == "maps" else images.flatten(1))
        return [logits] if self.answer == "list" else logits


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ("wide", r"gives a tensor \(2, 12\) for 2 images of 1 x 8 x 8; valid: logits \(2, 10\), one a class"),
        ("list", r"gives a list for 2 images of 1 x 8 x 8; valid: logits"),
        ("maps", "cannot take images of 1 x 8 x 8: mat1 and mat2 shapes cannot be multiplied"),
        ("lazy", "last.weight has no size before the first image; give its layer one in `build`"),
    ],
)
def test_a_network_that_does_not_fit_its_data_set_is_refused(
    answer: str, line: str, training_spec: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It used to be trained, pruned and attacked, and the first bound to be blamed."""
    monkeypatch.setattr("sparrow.models.cnn_small.build", lambda params, shape, classes: Wide(answer))
    with pytest.raises(SparrowError, match=f"^models.cnn-small: {line}"):
        initial_network(tmp_path, training_spec)
