"""Exchange of weights under a mask, on tensors that a pencil can follow."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from sparrow.data.store import Part
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import Layout
from sparrow.pruning.exchange import Exchange, LayerwiseExchange, cosine, with_largest, with_random, without_smallest
from sparrow.pruning.exchange_params import Exchanging, ExchangingLayerwise
from sparrow.stages.pruned_network import PrunerHooks
from sparrow.training.loop import Step, train
from sparrow.training.schedule import Schedule

MASK = torch.tensor([[True, False, True], [True, True, False]])


def _step(number: int, total: int, per_epoch: int) -> Step:
    return Step(number, total, per_epoch, total, 0.1, lambda: None)


@pytest.mark.parametrize(("done", "share"), [(0, 0.5), (0.5, 0.2525), (1, 0.005)])
def test_what_is_exchanged_falls_along_a_cosine(done: float, share: float) -> None:
    assert cosine(0.5, 0.005, done) == pytest.approx(share)


@pytest.mark.parametrize(
    ("every", "total", "after"),
    # Steps done. After the last ones less than an interval is left.
    [(2, 30, [6, 12, 18, 24]), (2, 29, [6, 12, 18]), (0.5, 6, [2, 4]), (0.01, 4, [1, 2, 3]), (1, 5, []), (1, 6, [3])],
)
def test_exchanges_are_whole_intervals_apart_and_one_from_the_end(every: float, total: int, after: list) -> None:
    pruner = Exchange(Exchanging(every=every), 0.5, torch.Generator())
    steps = [_step(number, total, 3) for number in range(total)]
    assert [step.number + 1 for step in steps if pruner.is_due(step)] == after
    assert [step.number + 1 for step in steps if pruner.is_due(step) and pruner.is_last(step)] == after[-1:]


@pytest.mark.parametrize(
    ("count", "left"),
    [
        (0, [[1, 0, 1], [1, 1, 0]]),
        (1, [[1, 0, 0], [1, 1, 0]]),
        (2, [[1, 0, 0], [0, 1, 0]]),
        (3, [[0, 0, 0], [0, 1, 0]]),
        (9, [[0, 0, 0], [0, 0, 0]]),
    ],
)
def test_the_smallest_go(count: int, left: list) -> None:
    # Of -2 and 2 the first in memory goes; what is outside is no smaller for being there.
    weight = torch.tensor([[-3.0, 0.0, 0.5], [-2.0, 4.0, 0.0]])
    assert without_smallest(MASK, weight, count).int().tolist() == left
    weight[0, 0] = 2
    assert without_smallest(MASK, weight, 2).int().tolist() == [[0, 0, 0], [1, 1, 0]]


@pytest.mark.parametrize(("count", "places"), [(0, []), (1, [5]), (2, [1, 5]), (7, [1, 5])])
def test_the_highest_scores_come(count: int, places: list) -> None:
    scores = torch.tensor([[9.0, 0.1, 9.0], [9.0, 9.0, 0.2]])
    grown = with_largest(MASK, scores, count)
    assert (grown & ~MASK).flatten().nonzero().flatten().tolist() == places
    assert grown[MASK].all()


def test_what_comes_at_random_is_any_of_the_free_places() -> None:
    generator, mask = torch.Generator().manual_seed(0), torch.tensor([True, False, False, True, False, False])
    drawn = torch.stack([with_random(mask, 2, generator) for _ in range(400)])
    assert drawn.sum(dim=1).unique().tolist() == [4]
    assert drawn.double().mean(dim=0).tolist() == pytest.approx([1, 0.5, 0.5, 1, 0.5, 0.5], abs=0.08)
    assert with_random(mask, 9, generator).all()


def test_masks_are_copies() -> None:
    before = MASK.clone()
    for changed in (
        without_smallest(MASK, torch.ones(2, 3), 0),
        with_largest(MASK, torch.ones(2, 3), 0),
        with_random(MASK, 0, torch.Generator()),
    ):
        changed.fill_(False)
    assert torch.equal(MASK, before)


def _hooks(network: nn.Module, every: float) -> tuple[LayerwiseExchange, PrunerHooks]:
    """A pruner that has started on `network`, and its part in the training loop."""
    params = ExchangingLayerwise(every=every, every_late=every)
    pruner, weights = LayerwiseExchange(params, 0.6, torch.Generator().manual_seed(0)), prunable_weights(network)
    pruner.network = network
    pruner.start(weights, Layout(network, (1, 8, 8)))
    return pruner, PrunerHooks(pruner, "methods.own", network, weights, pruner.others, None)


def _train(network: nn.Module, hooks: PrunerHooks) -> None:
    data = {"train": Part(torch.rand(24, 1, 8, 8), torch.arange(24) % 3, torch.arange(24))}
    train(
        network,
        lambda model, images, labels, progress: functional.cross_entropy(model(images), labels),
        data | {"validation": data["train"]},
        Schedule(epochs=6, batch_size=8, lr=0.05),
        network.parameters(),
        torch.Generator().manual_seed(0),
        hooks,
        report=lambda line: None,
    )


def test_a_network_with_batch_norm_starts_as_it_is_and_all_of_it_learns(residual: nn.Module) -> None:
    before = copy.deepcopy(residual.state_dict())
    pruner, hooks = _hooks(residual, every=2)
    weights, first = prunable_weights(residual), dict(pruner.masks)
    assert all(torch.equal(weight, before[name] * first[name]) for name, weight in weights.items())
    _train(residual, hooks)
    assert pruner.exchanges == 2
    assert pruner.warning() is None
    assert any(not torch.equal(mask, first[name]) for name, mask in pruner.masks.items())
    assert not any(weight[~pruner.masks[name]].any() for name, weight in weights.items())
    learned = residual.state_dict()
    assert all(not torch.equal(learned[name], before[name]) for name in ("1.weight", "1.bias", "1.running_mean", "7.bias"))


def test_a_schedule_without_an_exchange_is_told(residual: nn.Module) -> None:
    pruner, hooks = _hooks(residual, every=3.5)
    _train(residual, hooks)
    assert pruner.warning().startswith("exchanged no weights, since its schedule is shorter than two intervals")
