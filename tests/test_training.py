"""The training loop and its schedule, on objectives whose every step is known."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from sparrow import checkpoint
from sparrow.data import _store
from sparrow.data._store import Part
from sparrow.stages.finetune import finetune
from sparrow.stages.pretrain import pretrain
from sparrow.stages.prune import prune
from sparrow.training.loop import CURVE_COLUMNS, Hooks, train
from sparrow.training.schedule import Schedule


def _part(size: int, seed: int = 0) -> Part:
    generator = torch.Generator().manual_seed(seed)
    images, labels = torch.rand(size, 1, 4, 4, generator=generator), torch.randint(4, (size,), generator=generator)
    return Part(images, labels, torch.arange(size))


def _run(model: nn.Module, objective: Callable, size: int = 12, hooks: Hooks | None = None, **schedule: object) -> list[tuple]:
    """Train on `size` made-up images, three of them a step unless told otherwise; the learning curve."""
    settings = Schedule(**{"epochs": 2, "batch_size": 3, "momentum": 0.0} | schedule)
    data = {"train": _part(size), "validation": _part(5, seed=1)}
    generator = torch.Generator().manual_seed(0)
    return train(model, objective, data, settings, model.parameters(), generator, hooks or Hooks(), report=lambda line: None)


def _slope(model: nn.Module, images: Tensor, labels: Tensor, progress: float) -> Tensor:
    """A loss whose gradient is 1 in every parameter."""
    return sum(parameter.sum() for parameter in model.parameters())


def _flat(model: nn.Module, images: Tensor, labels: Tensor, progress: float) -> Tensor:
    """A loss whose gradient is 0."""
    return 0 * _slope(model, images, labels, progress)


def _cross_entropy(model: nn.Module, images: Tensor, labels: Tensor, progress: float) -> Tensor:
    return functional.cross_entropy(model(images), labels)


@pytest.fixture
def linear() -> nn.Module:
    """A network of 64 + 4 parameters, all of them 1."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
    for parameter in network.parameters():
        parameter.data.fill_(1)
    return network


def _values(model: nn.Module) -> list[float]:
    """The distinct values of all parameters."""
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()]).unique().tolist()


def test_cosine_lr_of_the_last_step_is_in_the_curve(linear: nn.Module) -> None:
    rows = _run(linear, _flat, epochs=4, lr=0.2)
    expected = [0.1 * (1 + math.cos(math.pi * step / 16)) for step in (3, 7, 11, 15)]
    assert [row[CURVE_COLUMNS.index("lr")] for row in rows] == pytest.approx(expected)


def test_constant_lr_stays(linear: nn.Module) -> None:
    rows = _run(linear, _flat, epochs=3, lr=0.2, lr_decay="constant")
    assert [row[CURVE_COLUMNS.index("lr")] for row in rows] == [0.2, 0.2, 0.2]


@pytest.mark.parametrize(
    ("schedule", "moved"),
    [
        ({"lr_decay": "constant"}, 0.8),
        ({"lr_decay": "cosine"}, sum(0.05 * (1 + math.cos(math.pi * step / 8)) for step in range(8))),
        # After step k the velocity is 1 + 0.5 + ... + 0.5^k, which is 2 - 0.5^k.
        ({"lr_decay": "constant", "momentum": 0.5}, sum(0.1 * (2 - 0.5**step) for step in range(8))),
        ({"lr_decay": "constant", "optimizer": "adam"}, 0.8),
        # 68 gradients of 1 have the length sqrt(68).
        ({"lr_decay": "constant", "max_grad_norm": 0.5}, 0.8 * 0.5 / math.sqrt(68)),
        ({"lr_decay": "constant", "max_grad_norm": 100.0}, 0.8),
    ],
)
def test_eight_steps_along_a_known_slope(linear: nn.Module, schedule: dict, moved: float) -> None:
    _run(linear, _slope, lr=0.1, **schedule)
    assert _values(linear) == pytest.approx([1 - moved], abs=1e-5)


def test_weight_decay_shrinks_weights(linear: nn.Module) -> None:
    _run(linear, _flat, lr=0.1, lr_decay="constant", weight_decay=0.5)
    assert _values(linear) == pytest.approx([0.95**8])


@pytest.mark.parametrize(
    ("schedule", "progress"),
    [
        ({}, [1, 1, 1, 1]),
        ({"warmup_epochs": 2}, [0, 0, 1, 1]),
        ({"ramp_epochs": 2}, [0, 0.5, 1, 1]),
        ({"warmup_epochs": 1, "ramp_epochs": 2}, [0, 0, 0.5, 1]),
    ],
)
def test_progress_at_each_epoch(schedule: dict, progress: list) -> None:
    assert [Schedule(epochs=4, **schedule).progress(epoch) for epoch in range(4)] == progress


def test_progress_reaches_the_objective(linear: nn.Module) -> None:
    # Step by step in training; as of the epoch's end in validation.
    seen: dict[bool, list[float]] = {True: [], False: []}

    def objective(model: nn.Module, images: Tensor, labels: Tensor, progress: float) -> Tensor:
        seen[model.training].append(progress)
        return _flat(model, images, labels, progress)

    _run(linear, objective, epochs=4, batch_size=6, warmup_epochs=1, ramp_epochs=2)
    assert seen == {True: [0, 0, 0, 0.25, 0.5, 0.75, 1, 1], False: [0, 0.5, 1, 1]}


@pytest.mark.parametrize(("warmup", "ramp"), [(3, 2), (4.5, 0), (0, 5)])
def test_ramp_must_end_within_the_schedule(warmup: float, ramp: float) -> None:
    with pytest.raises(
        ValidationError, match=rf"warmup_epochs \+ ramp_epochs is {warmup + ramp:g}, must be at most epochs \(4\)"
    ):
        Schedule(epochs=4, warmup_epochs=warmup, ramp_epochs=ramp)


@pytest.mark.parametrize(("size", "steps"), [(12, 8), (13, 10)])
def test_hooks_are_called_once_a_step(linear: nn.Module, size: int, steps: int) -> None:
    # The last, smaller batch is a step like any other.
    calls: list[str] = []
    _run(linear, _flat, size, Hooks(lambda: calls.append("backward"), lambda: calls.append("step")))
    assert calls == ["backward", "step"] * steps


def test_hooks_see_gradients_and_then_new_weights(linear: nn.Module) -> None:
    seen: list[list[float]] = []
    hooks = Hooks(lambda: seen.append(linear[1].bias.grad.tolist()), lambda: seen.append(linear[1].bias.tolist()))
    _run(linear, _slope, size=3, hooks=hooks, epochs=1, lr=0.5)
    assert seen == [[1] * 4, [0.5] * 4]


def test_every_image_is_seen_once_an_epoch(linear: nn.Module) -> None:
    epochs: list[Tensor] = []

    def objective(model: nn.Module, images: Tensor, labels: Tensor, progress: float) -> Tensor:
        if model.training:
            epochs.append(images)
        return _flat(model, images, labels, progress)

    _run(linear, objective)
    first, second = torch.cat(epochs[:4]), torch.cat(epochs[4:])
    expected = sorted(_part(12).images.flatten(1).tolist())
    assert sorted(first.flatten(1).tolist()) == sorted(second.flatten(1).tolist()) == expected
    assert not torch.equal(first, second)


def test_validation_leaves_the_random_state_alone(linear: nn.Module) -> None:
    # An objective that draws in validation too, as adversarial ones do, gets the same draws in training.
    drawn: list[float] = []

    def objective(model: nn.Module, images: Tensor, labels: Tensor, progress: float) -> Tensor:
        number = torch.rand(()).item()
        if model.training:
            drawn.append(number)
        return _flat(model, images, labels, progress)

    torch.manual_seed(4)
    _run(linear, objective)
    torch.manual_seed(4)
    assert drawn == [torch.rand(()).item() for _ in range(8)]


def test_curve_reports_loss_and_accuracy_on_validation(linear: nn.Module) -> None:
    rows = _run(linear, _cross_entropy, epochs=3)
    validation = _part(5, seed=1)
    logits = linear(validation.images)
    accuracy = (logits.argmax(dim=1) == validation.labels).float().mean().item()
    assert rows[-1][-2:] == pytest.approx((functional.cross_entropy(logits, validation.labels).item(), accuracy))


def test_curve_reports_the_mean_training_loss(linear: nn.Module) -> None:
    # At lr so small that nothing moves, all batches see the same network; 13 images leave a batch of one.
    part = _part(13)
    expected = functional.cross_entropy(linear(part.images), part.labels).item()
    ((_, _, _, loss, _, _),) = _run(linear, _cross_entropy, size=13, epochs=1, lr=1e-12)
    assert loss == pytest.approx(expected, rel=1e-5)


def test_network_ends_in_eval_mode(linear: nn.Module) -> None:
    _run(linear.train(), _flat)
    assert not linear.training


def _pretrain(data: Path, folder: Path, spec: dict, epochs: int = 2, seed: int = 0) -> Path:
    spec = spec | {"cell": {"seed": seed}, "schedule": spec["schedule"] | {"epochs": epochs}}
    folder.mkdir()
    pretrain(data, folder / "dense", folder / "curve.csv", folder / "cost.json", spec)
    return folder


def test_same_seed_gives_the_same_file(digits: Path, training_spec: dict, tmp_path: Path) -> None:
    first, again = (_pretrain(digits, tmp_path / name, training_spec) for name in ("first", "again"))
    assert (first / "dense").read_bytes() == (again / "dense").read_bytes()
    assert (first / "curve.csv").read_bytes() == (again / "curve.csv").read_bytes()


def test_other_seed_gives_other_weights(digits: Path, training_spec: dict, tmp_path: Path) -> None:
    folders = [_pretrain(digits, tmp_path / str(seed), training_spec, epochs=1, seed=seed) for seed in (0, 1)]
    first, other = (checkpoint.load(folder / "dense").model[0].weight for folder in folders)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("epochs", [1, 3])
def test_curve_has_a_row_an_epoch(digits: Path, training_spec: dict, tmp_path: Path, epochs: int) -> None:
    folder = _pretrain(digits, tmp_path / "run", training_spec, epochs)
    with open(folder / "curve.csv") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == CURVE_COLUMNS
    assert [row["epoch"] for row in rows] == [str(epoch + 1) for epoch in range(epochs)]


class _Witness:
    """A safetensors file that remembers which tensors were read."""

    seen: set[str]

    def __init__(self, path: Path, framework: str) -> None:
        self.context = _Witness.original(path, framework=framework)

    def __enter__(self) -> _Witness:
        self.file = self.context.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.context.__exit__(*error)

    def metadata(self) -> dict[str, str]:
        return self.file.metadata()

    def get_tensor(self, name: str) -> Tensor:
        _Witness.seen.add(name.split("/")[0])
        return self.file.get_tensor(name)


@pytest.fixture
def parts_read(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the parts of data sets that are read while the test runs."""
    _Witness.original, _Witness.seen = _store.safe_open, set()
    monkeypatch.setattr(_store, "safe_open", _Witness)
    return _Witness.seen


@pytest.mark.parametrize("stage", ["pretrain", "prune", "finetune"])
def test_training_never_reads_the_test_part(stage, dense, digits, training_spec, tmp_path, parts_read) -> None:
    spec = training_spec | {"schedule": {"epochs": 1, "lr": 0.01}, "method": {"kind": "hydra"}, "ratio": 0.5}
    files = digits, tmp_path / "output", tmp_path / "curve.csv", tmp_path / "cost.json"
    if stage == "pretrain":
        pretrain(*files, spec)
    else:
        {"prune": prune, "finetune": finetune}[stage](dense, *files, spec)
    assert parts_read == {"train", "validation"}


def test_method_that_does_not_learn_leaves_an_empty_curve(
    dense: Path, digits: Path, training_spec: dict, tmp_path: Path
) -> None:
    spec = {key: training_spec[key] for key in ("cell", "code", "model")} | {"method": {"kind": "lwm"}, "ratio": 0.5}
    prune(dense, digits, tmp_path / "pruned", tmp_path / "curve.csv", tmp_path / "cost.json", spec)
    assert (tmp_path / "curve.csv").read_text() == ",".join(CURVE_COLUMNS) + "\n"
