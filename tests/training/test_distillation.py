"""Fine-tuning that learns from the dense network: the loss by hand, and which images it is of."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow import catalogue
from sparrow.errors import SparrowError
from sparrow.files import checkpoint
from sparrow.files.headers import failure, read_header, sha256
from sparrow.jobs.costs import METER
from sparrow.settings import Threat
from sparrow.stages._failure import failed_checkpoint
from sparrow.stages.finetune import finetune
from sparrow.stages.prune import prune
from sparrow.training import inner_replay
from sparrow.training.additions import Distillation, StabilityLoss
from sparrow.training.distillation import Distilled, divergence
from sparrow.training.relu_stability import Penalty, penalised
from tests.specs import labels

THREAT = Threat(eps=0.1)


class Constant(nn.Module):
    """Gives the same logits, which learn, whatever the image; keeps the images that it was given."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([logits], dtype=torch.float64))
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.detach())
        return self.logits.expand(len(images), -1) + 0 * images.flatten(1).sum(dim=1, keepdim=True)


IMAGE, LABEL = torch.full((1, 1, 1, 1), 0.5, dtype=torch.float64), torch.tensor([1])


def unused() -> Tensor:
    raise AssertionError("the objective's own loss is not asked for")


@pytest.mark.parametrize(("temperature", "value"), [(30.0, 0.499722), (1.0, 0.327813)])
def test_the_divergence_by_hand(temperature: float, value: float) -> None:
    params = Distillation(temperature=temperature)
    student = Constant(0, 0)
    loss = Distilled(params, student, Constant(2, 0), None, perturbs=False)(unused, IMAGE, LABEL)
    assert float(loss.detach()) == pytest.approx(value, abs=5e-7)
    # softmax(student) - softmax(teacher), times T.
    loss.backward()
    off = temperature * (1 / (1 + torch.tensor(-2 / temperature).exp()) - 0.5)
    assert student.logits.grad[0].tolist() == pytest.approx([-float(off), float(off)], rel=1e-5)


def test_the_divergence_is_the_mean_over_images_not_over_classes() -> None:
    target = torch.tensor([[2.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    assert float(divergence(target, torch.zeros(2, 2, dtype=torch.float64))) == pytest.approx(0.327813 / 2, abs=5e-7)


def test_alpha_mixes_with_the_cross_entropy_of_clean_images() -> None:
    student = Constant(0, 0)
    loss = Distilled(Distillation(alpha=0.25, temperature=1.0), student, Constant(2, 0), None, False)(unused, IMAGE, LABEL)
    assert float(loss.detach()) == pytest.approx(0.25 * 0.327813 + 0.75 * 0.693147, abs=1e-6)
    assert len(student.seen) == 2


def perturbed(tiny: nn.Module, kind: str, images: Tensor, progress: float = 1.0, **params: object) -> Tensor:
    """The images of a batch of which the student is shown the loss while it trains on an objective of that kind."""
    entry, settings = catalogue.from_spec("objectives", {"kind": kind, **params})
    threat = THREAT if hasattr(settings, "eps") else None
    objective, shown = entry.prepare(settings, threat), []
    own = Distilled(Distillation(), tiny, nn.Sequential(nn.Flatten(), nn.Linear(16, 4)), threat, settings.perturbs)
    classes = torch.arange(len(images)) % 4
    tiny.train()
    hook = tiny.register_forward_hook(lambda module, given, output: shown.append(given[0]) if module.training else None)
    with inner_replay.record(False, "objective"):
        own(lambda: objective(tiny, images, classes, progress), images, classes)
    hook.remove()
    assert len(shown) == 1, "the loss is of one batch of images"
    return shown[0].detach()


@pytest.mark.parametrize("kind", ["benign", "smoothing"])
def test_without_a_radius_images_stay_as_they_are(tiny: nn.Module, kind: str) -> None:
    images = torch.rand(5, 1, 4, 4)
    assert torch.equal(perturbed(tiny, kind, images), images)


@pytest.mark.parametrize("kind", ["adversarial", "trades", "mart", "fgsm", "mtl-ibp"])
def test_an_objective_that_perturbs_finds_the_images(tiny: nn.Module, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images, found = torch.rand(5, 1, 4, 4), []
    solve = inner_replay.solve

    def noting(find: Callable[[], Tensor]) -> Tensor:
        found.append(solve(find))
        return found[-1]

    monkeypatch.setattr(inner_replay, "solve", noting)
    moved = perturbed(tiny, kind, images)
    assert len(found) == 1
    assert torch.equal(moved, found[0])
    assert 0 < float((moved - images).abs().max()) <= THREAT.eps + 1e-6


@pytest.mark.parametrize("kind", ["ibp", "crown-ibp", "mixtrain"])
def test_an_objective_with_a_radius_alone_has_them_found(tiny: nn.Module, kind: str) -> None:
    images = torch.rand(64, 1, 4, 4)
    moved = perturbed(tiny, kind, images)
    assert 0.09 < float((moved - images).abs().max()) <= THREAT.eps + 1e-6
    classes = torch.arange(64) % 4
    tiny.eval()
    before, after = (functional.cross_entropy(tiny(some), classes) for some in (images, moved))
    assert after > before


def test_an_objective_that_has_not_begun_to_perturb_shows_clean_images(tiny: nn.Module) -> None:
    images = torch.rand(5, 1, 4, 4)
    assert torch.equal(perturbed(tiny, "mtl-ibp", images, progress=0.0), images)


def test_an_objective_that_perturbs_other_images_is_refused(tiny: nn.Module) -> None:
    images, classes = torch.rand(5, 1, 4, 4), torch.arange(5) % 4

    def objective() -> Tensor:
        return tiny(inner_replay.solve(lambda: images[:2])).sum()

    own = Distilled(Distillation(), tiny, tiny, THREAT, perturbs=True)
    with inner_replay.record(), pytest.raises(SparrowError, match=r"the objective perturbs images \(2, 1, 4, 4\) of a batch"):
        own(objective, images, classes)


def test_batch_norm_sees_the_perturbed_images_once_and_the_teacher_learns_nothing() -> None:
    student, teacher = (nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 4)) for _ in range(2))
    before = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    entry, params = catalogue.from_spec("objectives", {"kind": "adversarial", "steps": 2})
    objective, images = entry.prepare(params, THREAT), torch.rand(6, 1, 4, 4)
    classes = torch.arange(6) % 4
    own = Distilled(Distillation(), student, teacher, THREAT, params.perturbs)
    METER.start()
    student.train()
    with inner_replay.record(), METER.watching(student):
        own(lambda: objective(student, images, classes, 1.0), images, classes).backward()
    assert int(student[1].num_batches_tracked) == 1
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    # Two steps of the search and one of the student: what the objective would take, too.
    assert METER.gradient_evaluations == 3 * 6


@pytest.mark.parametrize("kind", ["fgsm", "sabr", "ibp"])
def test_a_penalty_comes_on_top(residual: nn.Module, kind: str) -> None:
    """Its view of the network is made before there is a graph that this would spoil."""
    teacher, nrs = copy.deepcopy(residual), StabilityLoss(weight=0.5)
    images, classes = torch.rand(4, 1, 8, 8), torch.arange(4) % 3
    entry, params = catalogue.from_spec("objectives", {"kind": kind})
    objective = penalised(entry.prepare(params, THREAT), Penalty(nrs, THREAT))
    losses = []
    for penalty in (None, Penalty(nrs, THREAT)):
        torch.manual_seed(0)
        student = copy.deepcopy(residual).train()
        own = Distilled(Distillation(), student, teacher, THREAT, params.perturbs, penalty)
        with inner_replay.record():
            losses.append(own(partial(objective, student, images, classes, 1.0), images, classes))
        losses[-1].backward()
    expected = Penalty(nrs, THREAT)(student, images)
    assert float((losses[1] - losses[0]).detach()) == pytest.approx(float(expected.detach()), abs=1e-5)


@pytest.fixture
def pruned(dense: Path, digits: Path, tmp_path: Path, training_spec: dict) -> Path:
    spec = {key: training_spec[key] for key in ("code", "model")} | {"method": {"kind": "lwm"}, "ratio": 0.9}
    spec["cell"] = labels(method="lwm", ratio=0.9)
    prune(dense, digits, tmp_path / "pruned.safetensors", *(tmp_path / name for name in ("curve", "trace", "cost")), spec)
    return tmp_path / "pruned.safetensors"


def finetuned(pruned: Path, digits: Path, spec: dict, *teacher: Path) -> Path:
    output = pruned.with_name("finetuned.safetensors")
    files = output, output.with_name("curve.csv"), output.with_name("cost.json")
    finetune(pruned, digits, *files, spec | {"cell": labels(method="lwm", ratio=0.9)}, teacher)
    return output


def test_what_learns_from_the_dense_network_is_nearer_to_it(
    pruned: Path, dense: Path, digits: Path, training_spec: dict
) -> None:
    from sparrow.data.store import read

    schedule = training_spec["schedule"] | {"epochs": 2}
    images = read(digits, "validation")[0].images
    model = training_spec["model"]
    wanted = checkpoint.load(dense, model).model(images)
    distances, evaluations = [], []
    for addition in ({}, {"distillation": {"temperature": 4.0}}):
        output = finetuned(pruned, digits, training_spec | {"schedule": schedule} | addition, *([dense] if addition else []))
        distances.append(divergence(wanted, checkpoint.load(output, model).model(images)).item())
        evaluations.append(json.loads((output.with_name("cost.json")).read_text())["gradient_evaluations"])
    assert distances[1] < distances[0]
    assert evaluations[0] == evaluations[1] > 0
    header = read_header(output)
    assert header["teacher"] == sha256(dense)
    assert header["config"]["distillation"] == {"teacher": "dense", "alpha": 1.0, "temperature": 4.0}


def test_where_it_is_off_nothing_is_said_of_it(pruned: Path, digits: Path, training_spec: dict) -> None:
    header = read_header(finetuned(pruned, digits, training_spec | {"schedule": training_spec["schedule"] | {"epochs": 1}}))
    assert "teacher" not in header
    assert not {"distillation", "nrs"} & header["config"].keys()


def test_what_learns_from_a_network_that_failed_fails_alike(
    pruned: Path, digits: Path, training_spec: dict, tmp_path: Path
) -> None:
    failed = tmp_path / "dense.safetensors"
    failed_checkpoint("dense.safetensors: epoch 1: the training loss is nan", failed, "dense", labels())
    found = failure(finetuned(pruned, digits, training_spec | {"distillation": {}}, failed))
    assert found["failed"] == "dense.safetensors: epoch 1: the training loss is nan"
    assert found["stage"] == "finetuned"
