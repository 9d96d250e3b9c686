"""In each cycle of a schedule, learning rate, ramp and momentum begin anew."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sparrow.data.store import Part
from sparrow.estimate.work import phases
from sparrow.training.loop import Hooks, Step, train
from sparrow.training.schedule import Schedule


def schedule(**changes: object) -> Schedule:
    return Schedule(**{"epochs": 4, "batch_size": 2, "lr": 0.5, "momentum": 0.9} | changes)


class Diary(Hooks):
    """Hooks that write down what they see."""

    def __init__(self, model: nn.Linear) -> None:
        self._model, self.steps, self.weights = model, [], []

    def after_step(self, step: Step) -> None:
        self.steps.append(step)
        self.weights.append(self._model.weight.detach().clone())


def run(own: Schedule) -> tuple[Diary, list[tuple]]:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    pixels = torch.randint(0, 255, (6, 3, 1, 1), dtype=torch.uint8)
    part = Part(pixels, torch.tensor([0, 1, 0, 1, 0, 1]), torch.arange(6), 255)
    diary = Diary(model)

    def loss(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, progress: float) -> torch.Tensor:
        return cross_entropy(model(images.flatten(1)), labels) if progress >= 0 else torch.tensor(0.0)

    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = model

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.layer(images.flatten(1))

    parts = {"train": part, "validation": part}
    flat = Flat()
    rows = train(flat, loss, parts, own, list(model.parameters()), torch.Generator().manual_seed(1), diary, lambda line: None)
    return diary, rows


def test_rates_and_ramps_begin_anew() -> None:
    diary, rows = run(schedule(cycles=2, warmup_epochs=0.5, ramp_epochs=1))
    half, whole = run(schedule(epochs=2)), [step.lr for step in diary.steps]
    assert whole[:6] == whole[6:] == [step.lr for step in half[0].steps]
    assert [step.cycle for step in diary.steps] == [0] * 6 + [1] * 6
    assert [step.number for step in diary.steps if step.ends_cycle] == [5, 11]
    assert [step.number for step in diary.steps if step.ends_epoch] == [2, 5, 8, 11]
    assert [row[2] for row in rows] == [0.5, 1.0, 0.5, 1.0]


def test_momentum_is_forgotten_between_cycles() -> None:
    # The first step of a cycle is lr times the gradient alone: with as long a schedule and no momentum, it is the same.
    moved, still = (run(schedule(cycles=4, momentum=momentum))[0].weights for momentum in (0.9, 0.0))
    assert torch.equal(moved[0], still[0])
    assert not torch.allclose(moved[1], still[1])
    again = run(schedule(epochs=1))[0].weights
    assert torch.equal(again[2], moved[2])


@pytest.mark.parametrize(
    ("epoch", "ended", "expected"), [(0, False, 0), (2, False, 0), (2, True, 1), (3, False, 0.5), (4, True, 1)]
)
def test_progress_between_cycles(epoch: float, ended: bool, expected: float) -> None:
    assert schedule(cycles=2, ramp_epochs=2).progress(epoch, ended) == expected


def test_cycles_divide_the_epochs_and_hold_their_ramp() -> None:
    with pytest.raises(ValueError, match=r"cycles is 3, must divide epochs \(4\)"):
        schedule(cycles=3)
    with pytest.raises(ValueError, match=r"ramp_epochs is 3, must be at most the epochs of a cycle \(2\)"):
        schedule(cycles=2, ramp_epochs=3)


def test_every_cycle_is_priced() -> None:
    assert phases(schedule(cycles=2, warmup_epochs=0.5, ramp_epochs=1), 4) == {0.0: 1.0, 0.5: 2.0, 1.0: 1.0}
    assert phases(schedule(cycles=2, warmup_epochs=0.5, ramp_epochs=1), 2.75) == {0.0: 1.0, 0.5: 1.25, 1.0: 0.5}
