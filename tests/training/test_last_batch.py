"""Batch norm and a last batch of one image: it joins the batch before, and single images are refused in one line."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow import catalogue
from sparrow.data.store import Part
from sparrow.errors import ConfigError, NetworkError
from sparrow.networks.prunable import norm_layers
from sparrow.settings import Threat
from sparrow.study.load import load_study
from sparrow.training.loop import Hooks, train
from sparrow.training.schedule import Schedule
from tests.study.test_config import changed


@pytest.mark.parametrize(
    ("images", "size", "normalised", "batches"),
    [
        (7, 3, True, [3, 4]),
        (7, 3, False, [3, 3, 1]),
        (8, 3, True, [3, 3, 2]),
        (6, 3, True, [3, 3]),
        (4, 3, True, [4]),
        (5, 2, True, [2, 3]),
        (2, 3, True, [2]),
        # Nothing to join: these are refused.
        (1, 3, True, [1]),
        (3, 1, True, [1, 1, 1]),
        (3, 1, False, [1, 1, 1]),
    ],
)
def test_batches_of_an_epoch(images: int, size: int, normalised: bool, batches: list[int]) -> None:
    assert Schedule(epochs=1, batch_size=size).batches(images, normalised) == batches


def normalising() -> nn.Module:
    """A network like CNN7 in what matters: batch norm behind a linear layer."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 4))


class Watched(Hooks):
    """Which images were in each step."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.steps: list[tuple[int, int, int]] = []

    def loss(self, objective, images: Tensor, labels: Tensor) -> Tensor:
        self.seen.append(len(images))
        return objective()

    def after_step(self, step) -> None:
        self.steps.append((step.number, step.per_epoch, step.total))


def run(model: nn.Module, images: int, size: int, objective=None) -> Watched:
    generator = torch.Generator().manual_seed(0)
    parts = {
        name: Part(torch.rand(count, 1, 4, 4, generator=generator), torch.arange(count) % 4, torch.arange(count))
        for name, count in (("train", images), ("validation", 1))
    }
    hooks = Watched()
    loss = objective or (lambda model, images, labels, progress: functional.cross_entropy(model(images), labels))
    schedule = Schedule(epochs=2, batch_size=size, lr=0.01)
    train(model, loss, parts, schedule, model.parameters(), generator, hooks, report=lambda line: None)
    return hooks


def test_the_last_image_joins_the_batch_before() -> None:
    hooks = run(normalising(), 7, 3)
    assert hooks.seen == [3, 4] * 2
    assert hooks.steps == [(0, 2, 4), (1, 2, 4), (2, 2, 4), (3, 2, 4)]


def test_without_batch_norm_it_stays_a_batch() -> None:
    assert run(nn.Sequential(nn.Flatten(), nn.Linear(16, 4)), 7, 3).seen == [3, 3, 1] * 2


@pytest.mark.parametrize(("images", "size"), [(3, 1), (1, 3)])
def test_single_images_are_one_line(images: int, size: int) -> None:
    with pytest.raises(NetworkError, match=f"batch norm needs two images in every batch, and {images} in batches of {size}"):
        run(normalising(), images, size)


@pytest.mark.parametrize("kind", catalogue.kinds("objectives"))
def test_every_objective_trains_where_one_image_is_left(kind: str) -> None:
    entry = catalogue.load("objectives", kind)
    params = {"samples": 1, "probability": 1} if kind == "mixtrain" else {}
    assert run(normalising(), 7, 3, entry.prepare(entry.Params(**params), Threat(eps=0.01))).seen == [3, 4] * 2


def test_mixtrain_bounds_a_few_images_by_the_statistics_of_the_batch() -> None:
    # One image of nine, in a ball so small that its bound is its margin.
    entry, model = catalogue.load("objectives", "mixtrain"), normalising().train()
    images, labels = torch.rand(9, 1, 4, 4), torch.arange(9) % 4
    torch.manual_seed(3)
    loss = entry.prepare(entry.Params(samples=1, probability=1, weight=0.5), Threat(eps=1e-6))(model, images, labels, 1.0)
    torch.manual_seed(3)
    torch.rand(())
    few = torch.randint(9, (1,))
    logits = model(images)
    expected = functional.cross_entropy(logits, labels) + 0.5 * functional.cross_entropy(logits[few], labels[few])
    assert loss.item() == pytest.approx(expected.item(), abs=1e-4)


@pytest.mark.parametrize("kind", catalogue.kinds("models"))
def test_a_network_has_batch_norm_if_its_file_says_so(kind: str) -> None:
    entry = catalogue.load("models", kind)
    with torch.device("meta"):
        model = entry.build(entry.Params(), (3, 32, 32), 10)
    assert bool(norm_layers(model)) is entry.Params.batch_norm


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ("training.finetune.batch_size", "training.finetune.batch_size: 1"),
        ("objectives.benign.training.prune", "objectives.benign.training.prune.batch_size: 1"),
    ],
)
def test_a_batch_size_of_one_is_refused_before_any_job(key: str, named: str) -> None:
    one = {"batch_size": 1} if key.startswith("objectives") else 1
    with pytest.raises(ConfigError, match=rf"{named}, but models\.cnn7 has batch norm.*valid: 2 or more"):
        load_study(changed((key, one), ("models.cnn7", {})))
    load_study(changed((key, one)))
