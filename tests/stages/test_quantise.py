"""Rounding: a stage that rounds a network's weights, masks held, and may train on under rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sparrow.data import store
from sparrow.exchange import network as exported
from sparrow.exchange import onnx_file
from sparrow.files import checkpoint
from sparrow.files.headers import read_header
from sparrow.jobs import interruption
from sparrow.jobs.interruption import Interrupted
from sparrow.jobs.resume_point import VARIABLE
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.rounding import rounded
from sparrow.stages._failure import failed_checkpoint
from sparrow.stages._straight_through import StraightThrough
from sparrow.stages.quantise import quantise
from sparrow.training.loop import Step
from tests.specs import labels
from tests.stages.test_physical_size import pruned_by

CELL = labels(method="random", ratio=0.5)
SPEC: dict[str, Any] = {"cell": CELL, "code": "test", "model": {"kind": "cnn-small"}, "stage": "finetuned+int3", "bits": 3}


@pytest.fixture(scope="module")
def finetuned(dense: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dense network without a random half of its weights."""
    path, loaded = tmp_path_factory.mktemp("pruned") / "finetuned.safetensors", checkpoint.load(dense)
    torch.manual_seed(0)
    masks = {name: torch.rand_like(weight) > 0.5 for name, weight in prunable_weights(loaded.model).items()}
    for name, mask in masks.items():
        loaded.model.get_parameter(name).data.mul_(mask)
    about = loaded.header | {"stage": "finetuned", "parent": None, "cell": CELL}
    checkpoint.save(path, checkpoint.Checkpoint(loaded.model, masks, about))
    return path


def run(parent: Path, digits: Path, folder: Path, spec: dict[str, Any] = SPEC) -> Path:
    folder.mkdir(exist_ok=True)
    output = folder / f"{spec['stage']}.safetensors"
    quantise(parent, digits, output, folder / "curve.csv", folder / "cost.json", spec)
    return output


def on_their_grids(model: nn.Module, bits: int) -> bool:
    return all(torch.equal(rounded(weight, bits), weight) for weight in prunable_weights(model).values())


def test_the_weights_are_rounded_and_the_rest_is_as_it_was(finetuned: Path, digits: Path, tmp_path: Path) -> None:
    before, after = checkpoint.load(finetuned), checkpoint.load(run(finetuned, digits, tmp_path / "out"))
    assert (after.header["stage"], after.header["parent_stage"], after.header["bits"]) == ("finetuned+int3", "finetuned", 3)
    weights = prunable_weights(before.model)
    for name, tensor in after.model.state_dict().items():
        whole = before.model.state_dict()[name]
        assert torch.equal(tensor, rounded(whole, 3) if name in weights else whole)
    assert on_their_grids(after.model, 3)
    assert {name: mask.tolist() for name, mask in after.masks.items()} == {n: m.tolist() for n, m in before.masks.items()}
    # No pruned weight has come back, and rounding has made more zeros.
    zeros = [sum(int((w == 0).sum()) for w in prunable_weights(one.model).values()) for one in (before, after)]
    assert zeros[1] > zeros[0]
    assert not any(after.model.get_parameter(name)[~mask].any() for name, mask in after.masks.items())
    assert (tmp_path / "out/curve.csv").read_text().count("\n") == 1


def test_it_gives_the_same_bytes_again(finetuned: Path, digits: Path, tmp_path: Path) -> None:
    assert run(finetuned, digits, tmp_path / "1").read_bytes() == run(finetuned, digits, tmp_path / "2").read_bytes()


def test_eight_bits_change_few_answers(dense: Path, digits: Path, tmp_path: Path) -> None:
    spec = SPEC | {"stage": "dense+int8", "cell": labels(), "bits": 8}
    images = store.read(digits, "test")[0].images
    answers = [checkpoint.load(path).model(images).argmax(1) for path in (dense, run(dense, digits, tmp_path / "out", spec))]
    assert (answers[0] == answers[1]).float().mean() > 0.98


def test_a_network_without_its_filters_is_rounded_at_its_size(dense: Path, digits: Path, tmp_path: Path) -> None:
    parent = pruned_by(dense, digits, tmp_path / "pruned", granularity="filter")
    small = checkpoint.load(parent)
    assert small.kept
    spec = SPEC | {"stage": "pruned+int3", "cell": small.header["cell"]}
    after = checkpoint.load(run(parent, digits, tmp_path / "out", spec))
    assert on_their_grids(after.model, 3)
    assert [tensor.shape for tensor in after.model.state_dict().values()] == [
        tensor.shape for tensor in small.model.state_dict().values()
    ]
    assert after.kept.keys() == small.kept.keys()


def test_it_can_be_exported(finetuned: Path, digits: Path, tmp_path: Path) -> None:
    network = exported.load(run(finetuned, digits, tmp_path / "out"))
    assert onnx_file.write(tmp_path / "network.onnx", network) < 1e-5


def test_a_parent_that_failed_fails_alike(finetuned: Path, digits: Path, tmp_path: Path) -> None:
    broken = checkpoint.load(finetuned)
    run(finetuned, digits, tmp_path / "out")
    parent = tmp_path / "finetuned.safetensors"
    about = {key: broken.header[key] for key in ("model", "shape", "classes", "data", "data_regime")}
    failed_checkpoint("training diverged", parent, "finetuned", CELL, **about, parent=None, config={}, code="test", versions={})
    output = run(parent, digits, tmp_path / "out")
    assert (read_header(output)["stage"], read_header(output)["failed"]) == ("finetuned+int3", "training diverged")


def test_a_step_of_training_moves_the_weight_behind_by_the_gradient_at_the_rounded_one() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False))
    weight = model.get_parameter("0.weight")
    weight.data = torch.tensor([[0.4, -1.0], [0.0, 0.3]])
    hooks = StraightThrough(model, {"0.weight": torch.tensor([[True, True], [False, True]])}, {"0.weight": 2})
    (behind,) = hooks.learning
    assert weight.tolist() == [[0.0, -1.0], [0.0, pytest.approx(0.3)]]
    # L = sum of w times (1, 2): its gradient is the same wherever it is taken; masks hold the third.
    optimiser = torch.optim.SGD(hooks.learning, lr=0.1)
    step = Step(0, 1, 1, 1, 0.1, lambda: None)
    (-(weight * torch.tensor([1.0, 2.0])).sum()).backward()
    hooks.after_backward(step)
    optimiser.step()
    hooks.after_step(step)
    assert torch.allclose(behind, torch.tensor([[0.5, -0.8], [0.0, 0.5]]))
    # 0.5 of 0.8 is nearer to one step than to none; so is what has moved unseen by one.
    assert torch.allclose(weight, torch.tensor([[0.8, -0.8], [0.0, 0.5]]))


@pytest.fixture(scope="module")
def training(training_spec: dict) -> dict[str, Any]:
    schedule = {"epochs": 2, "batch_size": 64, "optimizer": "adam", "lr": 0.001}
    return training_spec | SPEC | {"stage": "finetuned+int2", "bits": 2, "schedule": schedule}


@pytest.fixture(scope="module")
def trained(finetuned: Path, digits: Path, training: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(finetuned, digits, tmp_path_factory.mktemp("trained"), training)


def test_training_under_rounding_makes_up_for_some_of_it(
    trained: Path, finetuned: Path, digits: Path, training: dict[str, Any], tmp_path: Path
) -> None:
    only = {key: value for key, value in training.items() if key in SPEC}
    test = store.read(digits, "test")[0]

    def right(path: Path) -> float:
        return float((checkpoint.load(path).model(test.images).argmax(1) == test.labels).float().mean())

    after = checkpoint.load(trained)
    assert on_their_grids(after.model, 2)
    assert not any(after.model.get_parameter(name)[~mask].any() for name, mask in after.masks.items())
    assert right(trained) > right(run(finetuned, digits, tmp_path / "out", only)) + 0.05


def test_a_job_that_was_killed_ends_with_the_same_bytes(
    trained: Path, finetuned: Path, digits: Path, training: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "0")
    left = [12]

    def stop() -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Interrupted

    with monkeypatch.context() as stopped:
        stopped.setattr(interruption, "raise_if_requested", stop)
        with pytest.raises(Interrupted):
            run(finetuned, digits, tmp_path / "parts", training)
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["finetuned+int2.resume.safetensors"]
    assert run(finetuned, digits, tmp_path / "parts", training).read_bytes() == trained.read_bytes()
