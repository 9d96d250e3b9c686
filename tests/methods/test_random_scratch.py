"""Random masks from scratch: drawn once, and held."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sparrow.methods import random_scratch
from sparrow.training.loop import Step


def _start(weights: dict, seed: int = 0, network: nn.Module | None = None, **params: object) -> dict[str, Tensor]:
    """The masks of a pruner at a ratio of 0.75, after a step in which everything moved."""
    pruner = random_scratch.prepare(random_scratch.Params(**params), 0.75, torch.Generator().manual_seed(seed))
    pruner.network = network or nn.Identity()
    pruner.start(weights, None)
    masks = {name: mask.clone() for name, mask in pruner.masks.items()}
    for weight in weights.values():
        weight.data += 1
    pruner.after_step(weights, Step(0, 4, 2, 4, 0.1, lambda: None))
    assert all(torch.equal(pruner.end(weights)[name], mask) for name, mask in masks.items())
    assert not any(weights[name][~mask].any() for name, mask in masks.items())
    return masks


def _weights() -> dict[str, nn.Parameter]:
    return {"small": nn.Parameter(torch.ones(4, 25)), "large": nn.Parameter(torch.ones(40, 25))}


@pytest.mark.parametrize(
    ("allocation", "kept"),
    # (f = 0.00425) Quotas 100 / (100 f + 1) and 1000 / (1000 f + 1), 275 in all.
    [("uniform", [25, 250]), ("igq", [72, 203])],
)
def test_layers_are_divided_by_the_allocation(allocation: str, kept: list) -> None:
    masks = _start(_weights(), allocation=allocation)
    assert [int(mask.sum()) for mask in masks.values()] == kept


def test_masks_are_drawn_and_no_place_is_spared() -> None:
    drawn = [_start(_weights(), seed, allocation="uniform") for seed in range(300)]
    assert sum(masks["small"].double() for masks in drawn).flatten().div(300).tolist() == pytest.approx([0.25] * 100, abs=0.1)
    assert torch.equal(_start(_weights(), 5, allocation="uniform")["small"], drawn[5]["small"])


@pytest.mark.parametrize(
    ("norms", "rescale", "factor"), [(False, None, 2), (True, None, 1), (False, False, 1), (True, True, 2)]
)
def test_layers_are_scaled_where_no_norm_does_it(norms: bool, rescale: bool | None, factor: float) -> None:
    # A quarter of the inputs is left: the others have to be twice as large.
    weights, network = _weights(), nn.BatchNorm1d(3) if norms else nn.ReLU()
    masks = _start(weights, network=network, allocation="uniform", rescale=rescale)
    assert all(weights[name][mask].unique().tolist() == [factor + 1] for name, mask in masks.items())
