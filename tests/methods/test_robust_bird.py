"""Robust bird by hand: when a ticket has emerged, where the search ends, and what is told of a ticket that means little."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from sparrow.files import checkpoint
from sparrow.methods import robust_bird
from sparrow.networks.prunable import prunable_weights
from sparrow.pruning.pruner import Pruner
from sparrow.stages.initial import initial
from sparrow.stages.prune import prune
from sparrow.training.loop import Step
from tests.specs import labels


def bird(ratio: float = 0.5, **params: object) -> Pruner:
    return robust_bird.prepare(robust_bird.Params(**params), ratio, torch.Generator())


def after_epochs(pruner: Pruner, weights: dict[str, nn.Parameter], *epochs: list[float], layer: str = "layer") -> list[bool]:
    """Whether the search is over after each of `epochs`, at whose ends `layer` has these weights."""
    found = []
    for number, values in enumerate(epochs):
        for step in (2 * number, 2 * number + 1):
            # What is between the ends of epochs plays no part.
            weights[layer].data = (torch.tensor(values) if step % 2 else torch.randn(len(values))).view_as(weights[layer])
            pruner.after_step(weights, Step(step, 40, 2, 40, 0.1, lambda: None))
        found.append(pruner.finished())
    return found


A, B, C = [1.0, -2.0, 3.0, 4.0], [2.0, 1.0, 3.0, -4.0], [1.0, 3.0, -2.0, 4.0]


def test_a_ticket_by_hand() -> None:
    weights = {"layer": nn.Parameter(torch.zeros(1, 4, 1, 1))}
    pruner = bird()
    pruner.start(weights, None)
    # Masks 0011, 0011, 0011, 0101 and 0101: the newest differs from the first three in half of the places.
    assert after_epochs(pruner, weights, A, A, B, C, C) == [False] * 5
    assert pruner.trace() == {"distance of masks": 0.5}
    # Five alike are needed: after the last of three more.
    assert after_epochs(pruner, weights, C, C) == [False, False]
    assert after_epochs(pruner, weights, C) == [True]
    assert pruner.trace() == {"distance of masks": 0.0}
    assert pruner.end(weights)["layer"].flatten().tolist() == [False, True, False, True]
    assert weights["layer"].flatten().tolist() == C
    assert pruner.warning() is None


@pytest.mark.parametrize(
    ("ratio", "params", "over"),
    [
        (0.5, {"masks": 2, "distance": 0.49}, False),
        (0.5, {"masks": 2, "distance": 0.5}, True),
        # At ratio 0.25 they differ in half of the places where they could, or in none.
        (0.25, {"masks": 2, "distance": 0.5, "relative": True}, True),
        (0.5, {"masks": 2, "distance": 0.5, "relative": True}, True),
        (0.5, {"masks": 2, "distance": 0.49, "relative": True}, False),
        (0.5, {"masks": 3, "distance": 0.9}, False),
    ],
)
def test_how_many_masks_may_differ_by_how_much(ratio: float, params: dict, over: bool) -> None:
    weights = {"layer": nn.Parameter(torch.zeros(1, 4, 1, 1))}
    pruner = bird(ratio, **params)
    pruner.start(weights, None)
    assert after_epochs(pruner, weights, A, C) == [False, over]


def test_only_convolutions_are_compared_and_all_layers_are_pruned() -> None:
    weights = {"convolution": nn.Parameter(torch.zeros(1, 4, 1, 1)), "linear": nn.Parameter(torch.tensor([[0.5, 9.0]]))}
    pruner = bird(masks=2)
    pruner.start(weights, None)
    assert after_epochs(pruner, weights, A, layer="convolution") == [False]
    weights["linear"].data = weights["linear"].data.flip(1)
    assert after_epochs(pruner, weights, A, layer="convolution") == [True]
    masks = pruner.end(weights)
    assert [mask.flatten().tolist() for mask in masks.values()] == [[False, False, True, True], [True, False]]


def test_without_convolutions_linear_layers_are_compared() -> None:
    weights = {"layer": nn.Parameter(torch.zeros(1, 4))}
    pruner = bird(masks=2)
    pruner.start(weights, None)
    assert after_epochs(pruner, weights, A, C, C) == [False, False, True]


@pytest.mark.parametrize("stage1", ["benign", "objective"])
def test_what_the_search_trains_on(stage1: str, tiny: nn.Module) -> None:
    images, labels = torch.rand(5, 1, 4, 4), torch.tensor([0, 1, 2, 3, 0])
    objective = torch.tensor(7.0)
    loss = bird(stage1=stage1).loss(SimpleNamespace(model=tiny, images=images, labels=labels, objective=lambda: objective))
    assert loss.item() == {"benign": functional.cross_entropy(tiny(images), labels).item(), "objective": 7}[stage1]


def test_what_means_little_is_told() -> None:
    weights = {"layer": nn.Parameter(torch.zeros(1, 100, 1, 1)), "small": nn.Parameter(torch.full((1, 2), 1e-9))}
    epochs = [torch.randn(100).tolist() for _ in range(3)]
    told = []
    for ratio, params in [(0.97, {"masks": 2}), (0.8, {"masks": 3, "distance": 0.01}), (0.8, {"masks": 2, "distance": 0.4})]:
        pruner = bird(ratio, **params)
        pruner.start(weights, None)
        after_epochs(pruner, weights, *epochs)
        assert int(pruner.end(weights)["small"].sum()) == 1
        told.append(pruner.warning())
    emptied = "; small would have lost all weights, and keeps one"
    assert told[0].startswith("at ratio 0.97 no two masks differ by more than 0.06, which its distance allows: ")
    assert told[1].startswith("its masks have not settled in 3 epochs, and the ticket is that of the last; ")
    assert told[2].startswith("at ratio 0.8 no two masks")
    assert all(one.endswith(emptied) for one in told)


@pytest.mark.parametrize(("ratio", "empty"), [(0.95, False), (0.96, True), (0.99, True), (0.04, True), (0.05, False)])
def test_from_which_ratio_on_the_distance_of_the_paper_is_no_condition(ratio: float, empty: bool) -> None:
    weights = {"layer": nn.Parameter(torch.zeros(1, 100, 1, 1))}
    pruner = bird(ratio, masks=2)
    pruner.start(weights, None)
    same = torch.randn(100).tolist()
    assert after_epochs(pruner, weights, same, same) == [False, True]
    pruner.end(weights)
    assert (pruner.warning() is not None) is empty


@pytest.mark.parametrize(("model", "epochs"), [("cnn-small", 3), ("cnn7", 2)])
def test_the_search_ends_with_the_ticket(model: str, epochs: int, digits: Path, training_spec: dict, tmp_path: Path) -> None:
    parent, output = tmp_path / "initial.safetensors", tmp_path / "pruned.safetensors"
    shared = {"cell": labels(), "code": "test", "model": {"kind": model}}
    initial(parent, tmp_path / "cost.json", shared | {"shape": (1, 8, 8), "classes": 10})
    spec = training_spec | shared | {"method": {"kind": "robust-bird", "masks": epochs, "distance": 0.9}, "ratio": 0.9}
    # The rate falls along the whole schedule, which is not run.
    spec |= {"objective": {"kind": "benign"}, "schedule": {"epochs": 20, "batch_size": 400, "lr": 0.1}}
    prune(parent, digits, output, *(tmp_path / name for name in ("curve.csv", "trace.csv", "cost.json")), spec)
    with open(tmp_path / "curve.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == [str(number + 1) for number in range(epochs)]
    assert 0.09 < float(rows[-1]["lr"]) < 0.1
    with open(tmp_path / "trace.csv") as file:
        distances = [float(row["value"]) for row in csv.DictReader(file)]
    assert distances[0] == 1
    assert max(distances[1:]) <= 0.2
    pruned = checkpoint.load(output)
    (warning,) = pruned.header["warnings"]
    assert f"the ticket was drawn after epoch {epochs}," in warning
    weights = prunable_weights(pruned.model)
    assert all(torch.equal(weight != 0, pruned.masks[name]) for name, weight in weights.items())
    total = sum(weight.numel() for weight in weights.values())
    assert sum(int(mask.sum()) for mask in pruned.masks.values()) == total - round(0.9 * total)
