"""Robust scratch tickets by hand: random constants, the scores that choose among them, and what stays still meanwhile."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sparrow.files import checkpoint
from sparrow.methods import rst
from sparrow.networks.prunable import norm_layers, prunable_weights
from sparrow.networks.structure import Layout
from sparrow.pruning.pruner import Pruner
from sparrow.stages.initial import initial
from sparrow.stages.prune import prune
from sparrow.training.loop import Step
from sparrow.training.schedule import Schedule
from tests.specs import labels


def started(weights: dict[str, nn.Parameter], ratio: float, seed: int = 0, **params: object) -> tuple[Pruner, list[Tensor]]:
    """A pruner of these weights alone, and its scores."""
    pruner = rst.prepare(rst.Params(**params), ratio, torch.Generator().manual_seed(seed))
    pruner.network = nn.Module()
    return pruner, pruner.start(weights, None)


def test_a_step_by_hand() -> None:
    # Eight inputs: constants of sqrt(2 / 8), here of a unit of which only four signs matter.
    weights = {"layer": nn.Parameter(torch.tensor([[0.1, -0.2, 0.3, -0.4] * 2], dtype=torch.float64))}
    pruner, (score,) = started(weights, 0.5)
    score.copy_(torch.tensor([[0.3, -0.1, -0.4, 0.2] * 2]))
    pruner.after_step(weights, Step(0, 1, 1, 1, 0.1, lambda: None))
    assert weights["layer"].tolist() == [[0.5, 0, 0.5, 0] * 2]
    weights["layer"].grad = torch.ones(1, 8, dtype=torch.float64)
    pruner.after_backward(weights, Step(0, 1, 1, 1, 0.1, lambda: None))
    # W0 sign(s): the constants of what is left out count, too.
    assert score.grad.tolist() == [[0.5, 0.5, -0.5, -0.5] * 2]
    masks = pruner.end(weights)
    assert masks["layer"].tolist() == [[True, False, True, False] * 2]
    assert weights["layer"].tolist() == [[0.5, 0, 0.5, 0] * 2]


@pytest.mark.parametrize(("params", "size"), [({}, math.sqrt(2 / 18)), ({"scale_fan": True}, math.sqrt(2 / (18 * 0.25)))])
def test_weights_are_constants_with_the_signs_that_they_had(params: dict, size: float) -> None:
    weight = nn.Parameter(torch.randn(40, 2, 3, 3))
    weight.data[0, 0, 0, 0] = 0
    signs = torch.where(weight < 0, -1.0, 1.0)
    pruner, (score,) = started({"layer": weight}, 0.75, **params)
    assert torch.allclose(pruner.frozen["layer"], size * signs)
    assert int(weight.count_nonzero()) == 180
    assert torch.equal(weight.data, pruner.frozen["layer"] * pruner.masks()["layer"])
    # Uniform in +-1 / sqrt(18), whose standard deviation is that over sqrt(3).
    assert score.abs().max().item() == pytest.approx(18**-0.5, rel=0.02)
    assert score.std().item() == pytest.approx(54**-0.5, rel=0.05)


def test_constants_are_for_the_inputs_that_each_layer_keeps() -> None:
    # By the kernel the small layer keeps 14 of its 100 weights, and the large one 36 of 400; both have ten inputs.
    weights = {"small": nn.Parameter(torch.randn(10, 10)), "large": nn.Parameter(torch.randn(40, 10))}
    pruner, _ = started(weights, 0.9, allocation="erk", scale_fan=True)
    sizes = {name: weight[weight != 0].abs() for name, weight in weights.items()}
    assert [len(found) for found in sizes.values()] == [14, 36]
    assert sizes["small"].tolist() == pytest.approx([math.sqrt(2 / (10 * 0.14))] * 14)
    assert sizes["large"].tolist() == pytest.approx([math.sqrt(2 / (10 * 0.09))] * 36)
    assert all(torch.equal(weights[name].data, pruner.frozen[name] * mask) for name, mask in pruner.masks().items())


def test_scores_are_of_the_generator() -> None:
    weights = {"layer": nn.Parameter(torch.randn(4, 5))}
    scores = [started(weights, 0.5, seed)[1][0].tolist() for seed in (0, 0, 1)]
    assert scores[0] == scores[1] != scores[2]


def test_the_search_is_a_whole_training_with_a_decay_of_its_own() -> None:
    own, pretrain = Schedule(epochs=3, lr=0.5), Schedule(epochs=9, lr=0.2, weight_decay=0.1, warmup_epochs=2)
    expected = pretrain.model_copy(update={"weight_decay": 5e-4})
    assert rst.Params().schedule(0.9, own, pretrain) == expected
    assert rst.Params(decay=0).schedule(0.9, own, pretrain).weight_decay == 0


def test_only_the_decay_moves_scores_without_a_gradient(residual: nn.Module) -> None:
    weights = prunable_weights(residual)
    pruner = rst.prepare(rst.Params(), 0.5, torch.Generator())
    pruner.network = residual
    scores = pruner.start(weights, Layout(residual, (1, 8, 8)))
    before = [score.clone() for score in scores]
    schedule = rst.Params().schedule(0.5, Schedule(epochs=1), Schedule(epochs=1))
    optimiser = torch.optim.SGD(scores, lr=0.1, weight_decay=schedule.weight_decay)
    for weight in weights.values():
        weight.grad = torch.zeros_like(weight)
    pruner.after_backward(weights, Step(0, 1, 1, 1, 0.1, lambda: None))
    optimiser.step()
    assert all(torch.allclose(score, old * (1 - 0.1 * 5e-4)) for score, old in zip(scores, before, strict=True))


@pytest.mark.parametrize("model", ["cnn-small", "cnn7"])
def test_nothing_but_the_choice_is_trained(model: str, digits: Path, training_spec: dict, tmp_path: Path) -> None:
    parent, output = tmp_path / "initial.safetensors", tmp_path / "pruned.safetensors"
    shared = {"cell": labels(), "code": "test", "model": {"kind": model}}
    initial(parent, tmp_path / "cost.json", shared | {"shape": (1, 8, 8), "classes": 10})
    spec = training_spec | shared | {"objective": {"kind": "benign"}, "method": {"kind": "rst"}, "ratio": 0.9}
    spec |= {"schedule": {"epochs": 1, "batch_size": 400, "lr": 0.1}}
    prune(parent, digits, output, *(tmp_path / name for name in ("c.csv", "t.csv", "cost.json")), spec)
    before, pruned = checkpoint.load(parent).model, checkpoint.load(output)
    for name, weight in prunable_weights(pruned.model).items():
        mask, constant = pruned.masks[name], (2 / weight[0].numel()) ** 0.5
        signs = torch.where(before.get_parameter(name) < 0, -1.0, 1.0)
        assert torch.allclose(weight, constant * signs * mask)
    biases = [name for name, _ in before.named_parameters() if name.endswith("bias")]
    assert all(torch.equal(pruned.model.get_parameter(name), before.get_parameter(name)) for name in biases)
    assert bool(norm_layers(before)) is (model == "cnn7")
    for norm, unused in zip(norm_layers(pruned.model), norm_layers(before), strict=True):
        assert torch.equal(norm.weight, unused.weight)
        # Statistics follow the network: the initial ones are those of no network.
        assert not torch.equal(norm.running_var, unused.running_var)
