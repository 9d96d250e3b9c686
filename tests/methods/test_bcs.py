"""Bayesian connectivity sampling on numbers that a pencil can follow."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sparrow.methods import bcs
from sparrow.networks.prunable import prunable_weights
from sparrow.pruning.pruner import Pruner
from sparrow.training.loop import Step
from sparrow.training.schedule import Schedule


def _never() -> None:
    raise AssertionError("the batch was evaluated again")


def _step(number: int = 0, total: int = 40, lr: float = 0.1) -> Step:
    return Step(number, total, 2, total, lr, _never)


def _start(weights: dict[str, nn.Parameter], ratio: float, network: nn.Module | None = None, **params: object) -> Pruner:
    settings = bcs.Params(**({"allocation": "erk"} | params))
    pruner = bcs.prepare(settings, ratio, torch.Generator().manual_seed(0))
    pruner.network = network or nn.Module()
    pruner.start(weights, None)
    return pruner


def _set(pruner: Pruner, name: str, thetas: list[float], signs: list[float]) -> Tensor:
    pruner.thetas[name].data = torch.tensor([thetas], dtype=torch.float64)
    pruner.signs[name] = torch.tensor([signs], dtype=torch.float64)
    return pruner.thetas[name]


def test_bcs_by_hand() -> None:
    weights = {"layer": nn.Parameter(torch.zeros(1, 4, dtype=torch.float64))}
    pruner = _start(weights, 0.5, noise=0.0)
    theta = _set(pruner, "layer", [0.5, 0.02, 0, 0], [1, -1, 1, -1])
    pruner.show(weights)
    assert weights["layer"].tolist() == [[0.5, -0.02, 0, 0]]
    weights["layer"].grad = torch.tensor([[1.0, -1.0, 5.0, 5.0]], dtype=torch.float64)
    pruner.after_backward(weights, _step())
    assert theta.grad.tolist() == [[1, 1, 0, 0]]
    theta.data -= 0.1 * theta.grad
    assert theta.flatten().tolist() == pytest.approx([0.39975, -0.08001, 0, 0], abs=1e-12)
    pruner.after_step(weights, _step())
    born = (theta.detach() == 1e-12).flatten()
    assert not born[0]
    assert int(born.sum()) == 1
    grown = (pruner.signs["layer"] * born * 1e-12).flatten().tolist()[1:]
    assert weights["layer"].flatten().tolist() == pytest.approx([0.39975, *grown], abs=1e-15)
    masks = pruner.end(weights)
    assert masks["layer"].flatten().tolist() == [True, *born[1:].tolist()]


def test_decay_is_decoupled_and_follows_the_learning_rate() -> None:
    network = nn.Linear(4, 1, dtype=torch.float64)
    network.bias.data.fill_(2.0)
    weights = {"weight": network.weight}
    pruner = _start(weights, 0.5, network, noise=0.0, decay=0.01)
    theta = _set(pruner, "weight", [1.0, 1.0, -1.0, 0.0], [1, 1, 1, 1])
    for number, lr in enumerate((0.1, 0.05)):
        network.weight.grad = torch.zeros_like(network.weight)
        pruner.after_backward(weights, _step(number, lr=lr))
    # Whatever the gradient, also of what is below zero, and of biases.
    assert theta.flatten().tolist() == pytest.approx([0.99 * 0.995, 0.99 * 0.995, -0.99 * 0.995, 0])
    assert network.bias.tolist() == pytest.approx([2 * 0.99 * 0.995])
    own = Schedule(epochs=3, weight_decay=0.1)
    assert bcs.Params().schedule(0.9, own, own) == Schedule(epochs=3)


def test_noise_moves_connections_alone() -> None:
    weights = {"layer": nn.Parameter(torch.zeros(1, 4000, dtype=torch.float64))}
    pruner = _start(weights, 0.5, noise=0.5)
    theta = _set(pruner, "layer", [1e6] * 2000 + [-1.0] * 2000, [1.0] * 4000)
    weights["layer"].grad = torch.zeros(1, 4000, dtype=torch.float64)
    pruner.after_backward(weights, _step())
    before = theta.detach().clone()
    pruner.after_step(weights, _step(lr=0.2))
    moved = (theta.detach() - before).flatten()
    assert not moved[2000:].any()
    assert float(moved[:2000].std()) == pytest.approx(0.2 * 0.5, rel=0.05)
    assert float(moved[:2000].mean()) == pytest.approx(0, abs=0.01)


def test_new_connections_go_to_layers_by_their_sizes_and_spare_no_place() -> None:
    shapes, grown = {"small": (1, 10), "large": (1, 30)}, []
    weights = {name: nn.Parameter(torch.zeros(shape)) for name, shape in shapes.items()}
    pruner = _start(weights, 0.75)
    for _ in range(400):
        for name, (_, size) in shapes.items():
            # Nine connections are left, of the ten that there should be.
            _set(
                pruner,
                name,
                [1.0] * 6 + [0.0] * (size - 6) if name == "large" else [1.0] * 3 + [0.0] * (size - 3),
                [1.0] * size,
            )
        pruner.rewire()
        grown.append(torch.cat([(pruner.thetas[name].detach() == 1e-12).flatten() for name in shapes]))
    found = torch.stack(grown).double()
    assert found.sum(dim=1).tolist() == [1] * 400
    assert float(found[:, :10].sum() / 400) == pytest.approx(0.25, abs=0.07)
    # Each of the seven free places of the small layer, and of the 24 of the large one.
    assert found.sum(dim=0)[3:10].min() > 0
    assert found.sum(dim=0)[16:].min() > 0


def test_a_full_layer_gets_what_it_has_place_for() -> None:
    weights = {name: nn.Parameter(torch.zeros(1, size)) for name, size in (("full", 100), ("other", 1))}
    pruner = _start(weights, 0.02)
    _set(pruner, "full", [1.0] * 98 + [-1.0, -1.0], [1.0] * 100)
    _set(pruner, "other", [0.0], [1.0])
    pruner.kept = 120
    pruner.rewire()
    assert int(pruner.connections()["full"].sum()) == 100
    # What is kept in the end may be more than there are connections.
    assert sum(int(mask.sum()) for mask in pruner.end(weights).values()) == 101


def test_the_most_are_kept_that_have_grown_largest() -> None:
    weights = {name: nn.Parameter(torch.zeros(1, 3)) for name in ("one", "two")}
    pruner = _start(weights, 0.5)
    _set(pruner, "one", [0.3, 0.1, -5.0], [1.0, -1.0, 1.0])
    _set(pruner, "two", [0.2, 0.05, 0.4], [1.0, 1.0, 1.0])
    assert pruner.kept == 3
    pruner.rewire()
    assert [mask.tolist() for mask in pruner.end(weights).values()] == [[[True, False, False]], [[True, False, True]]]


@pytest.mark.parametrize("rescale", [None, True, False])
def test_it_begins_with_its_densities_and_he_magnitudes(tiny: nn.Module, residual: nn.Module, rescale: bool | None) -> None:
    for network in (tiny, residual):
        normalised = network is residual
        weights = prunable_weights(network)
        pruner = _start(weights, 0.5, network, rescale=rescale, allocation="igq")
        size = sum(weight.numel() for weight in weights.values())
        assert sum(int((weight != 0).sum()) for weight in weights.values()) == size - round(0.5 * size) == pruner.kept
        scaled = not normalised if rescale is None else rescale
        squares, expected = 0.0, 0.0
        for name, weight in weights.items():
            kept = weight.detach()[weight != 0]
            density = len(kept) / weight.numel()
            squares += float(kept.square().sum()) * weight[0].numel() * (density if scaled else 1) / 2
            expected += len(kept)
            assert torch.equal(weight != 0, pruner.connections()[name])
        # The mean of chi-square: N(0, 2 / inputs), over the density where it is made up for.
        assert squares / expected == pytest.approx(1, abs=0.35)


def test_signs_never_change(tiny: nn.Module) -> None:
    weights, gradients = prunable_weights(tiny), torch.Generator().manual_seed(1)
    pruner = _start(weights, 0.8, tiny)
    optimiser = torch.optim.SGD(pruner.thetas.values(), lr=0.1, momentum=0.9)
    seen = {name: weight.detach().sign() for name, weight in weights.items()}
    changed = 0
    for number in range(20):
        for weight in weights.values():
            weight.grad = torch.randn(weight.shape, generator=gradients)
        pruner.after_backward(weights, _step(number))
        optimiser.step()
        pruner.after_step(weights, _step(number))
        for name, weight in weights.items():
            now = weight.detach().sign()
            assert not (now * seen[name] < 0).any()
            changed += int((now != seen[name]).sum())
            seen[name] = torch.where(now == 0, seen[name], now)
        assert sum(int((weight != 0).sum()) for weight in weights.values()) >= pruner.kept
    assert changed > 0
    masks = pruner.end(weights)
    assert sum(int(mask.sum()) for mask in masks.values()) == pruner.kept
    assert all((weights[name][mask] != 0).all() for name, mask in masks.items())


@pytest.mark.parametrize(("places", "number"), [(10, 0), (10, 3), (10, 5), (10, 10), (10, 12), (0, 2)])
def test_some_of_are_different_places(places: int, number: int) -> None:
    generator, counts = torch.Generator().manual_seed(0), torch.zeros(places)
    for _ in range(500):
        found = bcs.some_of(places, number, generator)
        assert len(found.unique()) == len(found) == min(number, places)
        counts[found] += 1
    if places:
        assert (counts / 500).tolist() == pytest.approx([min(number, places) / places] * places, abs=0.1)
