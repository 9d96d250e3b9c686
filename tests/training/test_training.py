"""The training loop and its schedule, on objectives whose every step is known."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from sparrow import catalogue
from sparrow.data import store
from sparrow.data.store import Part
from sparrow.errors import NetworkError, SparrowError
from sparrow.files import checkpoint
from sparrow.jobs.costs import METER
from sparrow.settings import Threat
from sparrow.stages.finetune import finetune
from sparrow.stages.pretrain import pretrain
from sparrow.stages.prune import prune
from sparrow.training import inner_replay
from sparrow.training.loop import CURVE_COLUMNS, CurveRow, Hooks, Step, train
from sparrow.training.loss import CheckedLoss
from sparrow.training.schedule import Schedule
from tests.specs import initial_network, labels


def _part(size: int, seed: int = 0) -> Part:
    generator = torch.Generator().manual_seed(seed)
    images, labels = torch.rand(size, 1, 4, 4, generator=generator), torch.randint(4, (size,), generator=generator)
    return Part(images, labels, torch.arange(size))


def _run(
    model: nn.Module,
    objective: Callable,
    size: int = 12,
    hooks: Hooks | None = None,
    steps: int | None = None,
    **schedule: object,
) -> list[tuple]:
    """Train on `size` made-up images, three of them a step unless told otherwise; the learning curve."""
    settings = Schedule(**{"epochs": 2, "batch_size": 3, "momentum": 0.0} | schedule)
    return _train(model, objective, list(model.parameters()), size, hooks, settings, steps)


def _train(
    model: nn.Module,
    objective: Callable,
    optimised: list,
    size: int,
    hooks: Hooks | None,
    schedule: Schedule,
    steps: int | None = None,
) -> list:
    data = {"train": _part(size), "validation": _part(5, seed=1)}
    generator = torch.Generator().manual_seed(0)
    steps_of = None if steps is None else lambda total, per_epoch: steps
    return train(model, objective, data, schedule, optimised, generator, hooks, lambda line: None, steps_of=steps_of)


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


def _hooks(**functions: Callable) -> Hooks:
    """Hooks that do `functions`, and otherwise nothing."""
    return type("_Some", (Hooks,), {name: staticmethod(function) for name, function in functions.items()})()


class _Diary(Hooks):
    """Writes down what it is called for."""

    def __init__(self) -> None:
        self.entries, self.steps, self.epochs = [], [], []

    def loss(self, objective: Callable, images: Tensor, labels: Tensor) -> Tensor:
        self.entries.append("loss")
        return objective()

    def after_backward(self, step: Step) -> None:
        self.entries.append("backward")

    def after_step(self, step: Step) -> None:
        self.entries.append("step")
        self.steps.append((step.number, step.total, step.per_epoch))

    def after_epoch(self, row: CurveRow) -> None:
        self.entries.append("epoch")
        self.epochs.append(row.epoch)


@pytest.mark.parametrize(("size", "per_epoch"), [(12, 4), (13, 5)])
def test_hooks_are_called_in_their_order(linear: nn.Module, size: int, per_epoch: int) -> None:
    # The last, smaller batch is a step like any other.
    diary = _Diary()
    _run(linear, _flat, size, diary)
    assert diary.entries == (["loss", "backward", "step"] * per_epoch + ["epoch"]) * 2
    assert diary.steps == [(number, 2 * per_epoch, per_epoch) for number in range(2 * per_epoch)]
    assert diary.epochs == [1, 2]


def test_hooks_see_gradients_and_then_new_weights(linear: nn.Module) -> None:
    seen: list[list[float]] = []
    hooks = _hooks(
        after_backward=lambda step: seen.append(linear[1].bias.grad.tolist()),
        after_step=lambda step: seen.append(linear[1].bias.tolist()),
    )
    _run(linear, _slope, size=3, hooks=hooks, epochs=1, lr=0.5)
    assert seen == [[1] * 4, [0.5] * 4]


def test_a_hook_may_change_the_loss(linear: nn.Module) -> None:
    ((*_, train_loss, _, _, _),) = _run(
        linear,
        _cross_entropy,
        hooks=_hooks(loss=lambda objective, images, labels: 0 * objective() + 7 * linear[1].bias.sum() + len(images)),
        epochs=1,
        batch_size=12,
        lr=0.1,
    )
    # The biases were 1; there were twelve images. Nothing but the biases has moved, by 0.1 * 7.
    assert train_loss == pytest.approx(7 * 4 + 12)
    assert linear[1].bias.tolist() == pytest.approx([0.3] * 4)
    assert linear[1].weight.unique().tolist() == [1]


def test_a_hook_may_change_the_gradient(linear: nn.Module) -> None:
    def halve(step: Step) -> None:
        for parameter in linear.parameters():
            parameter.grad.mul_(0.5)

    _run(linear, _slope, hooks=_hooks(after_backward=halve), lr=0.1, lr_decay="constant")
    assert _values(linear) == pytest.approx([1 - 8 * 0.05])


@pytest.mark.parametrize(("last", "epochs"), [(1, 1), (3, 1), (4, 1), (5, 2), (8, 2)])
def test_training_stops_after_the_steps_that_it_is_given(linear: nn.Module, last: int, epochs: int) -> None:
    diary = _Diary()
    rows = _run(linear.train(), _slope, hooks=diary, steps=last, epochs=4, lr=0.1, lr_decay="constant")
    assert len(diary.steps) == last
    # The epoch in which it happened has its row.
    assert [row[0] for row in rows] == diary.epochs == list(range(1, epochs + 1))
    assert _values(linear) == pytest.approx([1 - 0.1 * last], abs=1e-6)
    assert not linear.training


@pytest.mark.parametrize("answers", [[True], [False, True], [False] * 4])
def test_training_ends_after_the_epoch_in_which_hooks_have_finished(answers: list, linear: nn.Module) -> None:
    left = iter(answers)
    hooks = _hooks(finished=lambda: next(left))
    rows = _run(linear.train(), _slope, hooks=hooks, epochs=4, lr=0.1, lr_decay="constant")
    assert [row[0] for row in rows] == list(range(1, len(answers) + 1))
    assert _values(linear) == pytest.approx([1 - 0.1 * 4 * len(answers)], abs=1e-6)
    assert not linear.training


def test_an_epoch_cut_short_reports_the_loss_of_what_it_saw(linear: nn.Module) -> None:
    # After two of four batches.
    seen: list[Tensor] = []

    def objective(model: nn.Module, images: Tensor, labels: Tensor, progress: float) -> Tensor:
        if model.training:
            seen.append(images)
        return images.sum() + _flat(model, images, labels, progress)

    ((*_, train_loss, _, _, _),) = _run(linear, objective, steps=2)
    assert train_loss == pytest.approx((seen[0].sum() + seen[1].sum()).item() / 2)
    assert len(seen) == 2


def test_training_may_have_nothing_to_optimise(linear: nn.Module) -> None:
    # A method may look at gradients alone; clipping has nothing to clip then.
    gradients: list[Tensor] = []
    hooks = _hooks(after_step=lambda step: gradients.append(linear[1].weight.grad.clone()))
    schedule = Schedule(epochs=2, batch_size=3, lr=0.1, weight_decay=0.1, max_grad_norm=1e-3)
    rows = _train(linear, _cross_entropy, [], 12, hooks, schedule)
    assert _values(linear) == [1]
    assert [row[0] for row in rows] == [1, 2]
    assert len(gradients) == 8
    assert all(gradient.norm() > 0.01 for gradient in gradients)


def test_gradients_do_not_add_up_even_if_nothing_is_optimised(linear: nn.Module) -> None:
    seen: list[float] = []
    hooks = _hooks(after_step=lambda step: seen.append(linear[1].bias.grad.unique().item()))
    _train(linear, _slope, [], 12, hooks, Schedule(epochs=2, batch_size=3))
    assert seen == [1] * 8


def test_tensors_beside_the_network_are_optimised_too(linear: nn.Module) -> None:
    score = torch.ones(2)
    hooks = _hooks(after_backward=lambda step: setattr(score, "grad", torch.tensor([1.0, -1.0])))
    _train(linear, _slope, [score], 12, hooks, Schedule(epochs=2, batch_size=3, lr=0.1, momentum=0.0, lr_decay="constant"))
    assert score.tolist() == pytest.approx([0.2, 1.8])
    assert _values(linear) == [1]


@pytest.mark.parametrize("kind", ["adversarial", "trades"])
def test_a_second_look_is_at_the_same_perturbations(kind: str, tiny: nn.Module) -> None:
    # The images that the network is trained on are those that it sees in train mode.
    entry, seen, found = catalogue.load("objectives", kind), [], {}
    objective = entry.prepare(entry.Params(steps=3), Threat(eps=0.1))
    tiny.register_forward_pre_hook(lambda model, inputs: seen.append(inputs[0].detach()) if model.training else None)
    labels = {}

    def loss(objective: Callable, images: Tensor, of: Tensor) -> Tensor:
        labels["now"] = of
        return objective()

    def after_backward(step: Step) -> None:
        found["first"] = [parameter.grad.clone() for parameter in tiny.parameters()]
        for parameter in tiny.parameters():
            parameter.data.mul_(1.5)
        step.again()
        found["second"] = [parameter.grad.clone() for parameter in tiny.parameters()]
        found["weights"] = [parameter.detach().clone() for parameter in tiny.parameters()]

    hooks = _hooks(loss=loss, after_backward=after_backward)
    METER.gradient_evaluations = 0
    _train(tiny, objective, [], 6, hooks, Schedule(epochs=1, batch_size=6))
    # Three steps of the attack and one of training, then one more: for each image, and TRADES sees two of each.
    twice = 2 if kind == "trades" else 1
    validation = 3 * 5
    assert METER.gradient_evaluations == 6 * (3 + 2 * twice) + validation
    half = len(seen) // 2
    assert half == twice
    assert all(torch.equal(one, two) for one, two in zip(seen[:half], seen[half:], strict=True))
    # By hand: the loss against those images, at the changed weights.
    for parameter, value in zip(tiny.parameters(), found["weights"], strict=True):
        parameter.data.copy_(value)
    clean, adversarial = tiny(seen[0]), tiny(seen[half - 1])
    loss = functional.cross_entropy(clean, labels["now"])
    if kind == "trades":
        p, q = clean.softmax(dim=1), adversarial.softmax(dim=1)
        loss = loss + 6 * (p * (p / q).log()).sum(dim=1).mean()
    expected = torch.autograd.grad(loss, list(tiny.parameters()))
    assert all(torch.allclose(one, two, atol=1e-5) for one, two in zip(found["second"], expected, strict=True))
    assert not any(torch.allclose(one, two, atol=1e-5) for one, two in zip(found["first"], found["second"], strict=True))


def test_a_second_look_is_at_the_same_batch_and_progress(linear: nn.Module) -> None:
    seen: list[tuple] = []

    def objective(model: nn.Module, images: Tensor, labels: Tensor, progress: float) -> Tensor:
        if model.training:
            seen.append((images.tolist(), labels.tolist(), progress))
        return _slope(model, images, labels, progress)

    _run(linear, objective, hooks=_hooks(after_backward=lambda step: step.again()), epochs=2, ramp_epochs=2)
    assert len(seen) == 16
    assert seen[::2] == seen[1::2]
    assert [progress for _, _, progress in seen[::2]] == [number / 8 for number in range(8)]


def test_a_second_look_replaces_the_gradient(linear: nn.Module) -> None:
    # A gradient of 1, not of 2: eight steps go as far as ever.
    _run(linear, _slope, hooks=_hooks(after_backward=lambda step: step.again()), lr=0.1, lr_decay="constant")
    assert _values(linear) == pytest.approx([0.2], abs=1e-6)


def test_each_step_finds_its_own_perturbations(linear: nn.Module) -> None:
    found, used = [], []

    def find() -> Tensor:
        found.append(torch.rand(()))
        return found[-1]

    def objective(model: nn.Module, images: Tensor, labels: Tensor, progress: float) -> Tensor:
        perturbation = inner_replay.solve(find)
        if model.training:
            used.append(perturbation.item())
        return _flat(model, images, labels, progress)

    _run(linear, objective, hooks=_hooks(after_backward=lambda step: (step.again(), step.again())), epochs=1)
    assert used[::3] == used[1::3] == used[2::3]
    assert len(set(used)) == 4
    # And validation two: it is in no step.
    assert len(found) == 4 + 2


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
    assert rows[-1][4:6] == pytest.approx((functional.cross_entropy(logits, validation.labels).item(), accuracy))
    assert rows[-1][6] is None


def test_curve_reports_the_mean_training_loss(linear: nn.Module) -> None:
    # At lr so small that nothing moves, all batches see the same network; 13 images leave a batch of one.
    part = _part(13)
    expected = functional.cross_entropy(linear(part.images), part.labels).item()
    ((_, _, _, loss, *_),) = _run(linear, _cross_entropy, size=13, epochs=1, lr=1e-12)
    assert loss == pytest.approx(expected, rel=1e-5)


def test_network_ends_in_eval_mode(linear: nn.Module) -> None:
    _run(linear.train(), _flat)
    assert not linear.training


def _pretrain(data: Path, folder: Path, spec: dict, epochs: int = 2, seed: int = 0) -> Path:
    spec = spec | {"cell": labels(seed), "schedule": spec["schedule"] | {"epochs": epochs}}
    folder.mkdir()
    pretrain(initial_network(folder.parent, spec), data, folder / "dense", folder / "curve.csv", folder / "cost.json", spec)
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
    _Witness.original, _Witness.seen = store.safe_open, set()
    monkeypatch.setattr(store, "safe_open", _Witness)
    return _Witness.seen


@pytest.mark.parametrize("stage", ["pretrain", "prune", "finetune"])
def test_training_never_reads_the_test_part(stage, dense, digits, training_spec, tmp_path, parts_read) -> None:
    spec = training_spec | {"schedule": {"epochs": 1, "lr": 0.01}}
    spec |= {"method": {"kind": "hydra"}, "ratio": 0.5} if stage == "prune" else {}
    curves = [tmp_path / "curve.csv"] + ([tmp_path / "trace.csv"] if stage == "prune" else [])
    files = digits, tmp_path / "output", *curves, tmp_path / "cost.json"
    if stage == "pretrain":
        pretrain(initial_network(tmp_path, spec), *files, spec)
    else:
        {"prune": prune, "finetune": finetune}[stage](dense, *files, spec)
    assert parts_read == {"train", "validation"}


def _prune(dense: Path, data: Path, folder: Path, spec: dict) -> None:
    prune(dense, data, folder / "pruned", folder / "curve.csv", folder / "trace.csv", folder / "cost.json", spec)


def test_trace_has_a_row_an_epoch_and_quantity(dense: Path, digits: Path, training_spec: dict, tmp_path: Path) -> None:
    schedule = {"epochs": 3, "batch_size": 500, "lr": 0.01}
    _prune(dense, digits, tmp_path, training_spec | {"schedule": schedule, "method": {"kind": "admm"}, "ratio": 0.5})
    with open(tmp_path / "trace.csv") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "name", "value"]
    names = ["rho", "primal residual |W - Z|", "dual residual rho |Z - Z'|"]
    assert [(row["epoch"], row["name"]) for row in rows] == [(str(epoch), name) for epoch in (1, 2, 3) for name in names]
    # Ten parts of nine steps: an update after every step, three in an epoch.
    assert [float(row["value"]) for row in rows[::3]] == pytest.approx([1e-3 * 1.3**done for done in (3, 6, 9)], rel=1e-5)


@pytest.mark.parametrize(("batches", "images"), [(1, 100), (None, None)])
def test_snip_evaluates_as_many_batches_as_it_says(batches, images, dense, digits, training_spec, tmp_path) -> None:
    spec = training_spec | {"objective": {"kind": "benign"}, "schedule": {"epochs": 5, "batch_size": 100, "lr": 0.1}}
    del spec["threat"]
    _prune(dense, digits, tmp_path, spec | {"method": {"kind": "snip", "batches": batches}, "ratio": 0.5})
    with open(tmp_path / "curve.csv") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1"]
    whole = len(store.read(digits, "train")[0])
    assert json.loads((tmp_path / "cost.json").read_text())["gradient_evaluations"] == (images or whole)


def test_method_that_does_not_learn_leaves_an_empty_curve(
    dense: Path, digits: Path, training_spec: dict, tmp_path: Path
) -> None:
    spec = {key: training_spec[key] for key in ("cell", "code", "model")} | {"method": {"kind": "lwm"}, "ratio": 0.5}
    _prune(dense, digits, tmp_path, spec)
    assert (tmp_path / "curve.csv").read_text() == ",".join(CURVE_COLUMNS) + "\n"
    assert (tmp_path / "trace.csv").read_text() == "epoch,name,value\n"


def test_a_check_that_falls_is_reported_as_catastrophic_overfitting(linear: nn.Module) -> None:
    survivors, lines = iter([5, 4, 0]), []

    def objective(model: nn.Module, images: Tensor, labels: Tensor, progress: float) -> Tensor:
        return _flat(model, images, labels, progress)

    def check(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return torch.arange(len(labels)) < next(survivors)

    data = {"train": _part(12), "validation": _part(5, seed=1)}
    generator = torch.Generator().manual_seed(0)
    rows = train(
        linear,
        CheckedLoss(objective, check, 0.5),
        data,
        Schedule(epochs=3),
        list(linear.parameters()),
        generator,
        report=lines.append,
    )
    assert [row[CURVE_COLUMNS.index("validation_check")] for row in rows] == [1, 0.8, 0]
    assert [line for line in lines if "WARNING" in line] == [
        "WARNING: catastrophic overfitting: accuracy under PGD fell from 80.00% to 0.00%"
    ]


@pytest.mark.parametrize(("epoch", "past"), [(0, 0), (4, 0), (5, 0), (7.5, 2.5)])
def test_progress_knows_how_long_ago_the_ramp_ended(epoch: float, past: float) -> None:
    schedule = Schedule(epochs=10, warmup_epochs=2, ramp_epochs=3)
    assert schedule.progress(epoch).epochs_past_ramp == past


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_training_in_one_line(value: float, linear: nn.Module) -> None:
    def objective(model: nn.Module, images: Tensor, labels: Tensor, progress: float) -> Tensor:
        return value + _flat(model, images, labels, progress)

    with pytest.raises(SparrowError, match=rf"epoch 1: the training loss is {value}; training diverged, try a smaller lr"):
        _run(linear, objective)


def test_a_tensor_beside_the_network_that_is_lost_ends_training_though_the_loss_is_a_number(linear: nn.Module) -> None:
    score = torch.ones(2)
    hooks = _hooks(after_backward=lambda step: setattr(score, "grad", torch.tensor([1.0, float("nan")])))
    with pytest.raises(NetworkError, match="epoch 1: what is learned is not finite; training diverged, try a smaller lr"):
        _train(linear, _slope, [score], 12, hooks, Schedule(epochs=2, batch_size=3))
