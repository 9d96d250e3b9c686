"""Masks over the whole network have the exact number, and empty no layer if told so."""

from __future__ import annotations

import pytest
import torch

from sparrow.pruning.masks import igq_densities, random_masks
from sparrow.pruning.whole_network import exact, keep_highest_everywhere

SCORES = {"a": torch.tensor([[4.0, -1.0], [3.0, 3.0]]), "b": torch.tensor([0.5, 2.0])}


def kept(masks: dict[str, torch.Tensor]) -> dict[str, list[int]]:
    return {name: mask.flatten().int().tolist() for name, mask in masks.items()}


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, {"a": [0, 0, 0, 0], "b": [0, 0]}),
        # Of two equal scores the first in memory goes first.
        (2, {"a": [1, 0, 0, 1], "b": [0, 0]}),
        (4, {"a": [1, 0, 1, 1], "b": [0, 1]}),
        (6, {"a": [1, 1, 1, 1], "b": [1, 1]}),
    ],
)
def test_the_highest_of_all_layers_are_kept(number: int, expected: dict) -> None:
    assert kept(keep_highest_everywhere(SCORES, number)) == expected


def test_a_layer_keeps_its_highest_if_told_so() -> None:
    assert kept(keep_highest_everywhere(SCORES, 3, at_least=1)) == {"a": [1, 0, 0, 1], "b": [0, 1]}
    # Where there are not enough for that, the highest everywhere.
    assert kept(keep_highest_everywhere(SCORES, 1, at_least=1)) == {"a": [1, 0, 0, 0], "b": [0, 0]}


def test_nothing_outside_the_masks_is_revived() -> None:
    within = {"a": torch.tensor([[False, True], [True, False]]), "b": torch.tensor([True, True])}
    assert kept(keep_highest_everywhere(SCORES, 2, within)) == {"a": [0, 0, 1, 0], "b": [0, 1]}
    assert kept(exact(within, SCORES, 0.5)) == {"a": [0, 1, 1, 0], "b": [0, 1]}


def test_a_cut_to_the_ratio_empties_no_layer() -> None:
    masks = {name: torch.ones_like(score, dtype=torch.bool) for name, score in SCORES.items()}
    small = {"a": SCORES["a"], "b": SCORES["b"] / 100}
    assert kept(exact(masks, small, 0.5)) == {"a": [1, 0, 0, 1], "b": [0, 1]}


def test_masks_share_no_memory() -> None:
    first, second = keep_highest_everywhere(SCORES, 4).values()
    assert first.untyped_storage().data_ptr() != second.untyped_storage().data_ptr()


def test_ideal_gas_quotas_by_hand() -> None:
    # Layers of 100 and 1000 weights at 0.2: f = 0.00544164.
    found = igq_densities({"small": 100, "large": 1000}, 0.2)
    assert found == pytest.approx({"small": 0.64760, "large": 0.15524}, abs=1e-5)
    assert 1 / found["small"] - 1 == pytest.approx(100 * 0.00544164, rel=1e-5)


def test_random_masks_lose_what_the_budget_says() -> None:
    weights = {"a": torch.ones(10, 10), "b": torch.ones(7)}
    masks, again = (random_masks(weights, {"a": 90, "b": 3}, torch.Generator().manual_seed(3)) for _ in range(2))
    assert {name: int((~mask).sum()) for name, mask in masks.items()} == {"a": 90, "b": 3}
    assert kept(masks) == kept(again)
