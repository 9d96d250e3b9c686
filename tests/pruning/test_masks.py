"""From scores to masks: exact counts, allocations by hand, filters, and the check of what methods hand in."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from sparrow.errors import SparrowError
from sparrow.methods import lwm
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import Layout
from sparrow.pruning.masks import (
    budget_of,
    divide,
    erk_densities,
    igq_densities,
    keep_highest,
    lamp_scores,
    masks_of,
    pruned_count,
    spread,
    units,
)
from sparrow.stages._mask_check import check_masks, raise_for

ALLOCATIONS = ["uniform", "erk", "lamp", "global"]
RATIOS = [0.01, 0.1, 0.5, 0.77, 0.9, 0.99, 0.995]
WEIGHT = lwm.Params()
FILTER = lwm.Params(granularity="filter")


@pytest.fixture
def weights() -> dict[str, Tensor]:
    """45, 27 and 35 weights: half of them is not a whole number."""
    return {"first": torch.randn(5, 1, 3, 3), "second": torch.randn(3, 9), "third": torch.randn(5, 7)}


@pytest.fixture
def layout(tiny: nn.Module) -> Layout:
    """That of `tiny`: a group of 3 filters and one of 8 neurons; the output layer is in none."""
    return Layout(tiny, (1, 4, 4))


def _lost(masks: dict[str, Tensor]) -> dict[str, int]:
    return {name: int((~mask).sum()) for name, mask in masks.items()}


def _magnitude_masks(weights: dict, layout: Layout | None, ratio: float, **params: str) -> dict[str, Tensor]:
    """Masks that keep the largest magnitudes."""
    settings = lwm.Params(**params)
    scores = {name: weight.detach().abs() for name, weight in weights.items()}
    return masks_of(scores, layout, budget_of(weights, layout, ratio, settings, scores), settings, weights)


@pytest.mark.parametrize("ratio", RATIOS)
def test_uniform_is_exact_in_every_layer(weights: dict, ratio: float) -> None:
    masks = _magnitude_masks(weights, None, ratio)
    assert list(_lost(masks).values()) == [round(ratio * size) for size in (45, 27, 35)]


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("allocation", ["erk", "lamp", "global"])
def test_other_allocations_are_exact_over_the_network(weights: dict, allocation: str, ratio: float) -> None:
    masks = _magnitude_masks(weights, None, ratio, allocation=allocation)
    assert sum(_lost(masks).values()) == round(ratio * 107)


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_masks_are_bool_and_fit_their_weights(weights: dict, allocation: str) -> None:
    masks = _magnitude_masks(weights, None, 0.5, allocation=allocation)
    assert {name: (mask.dtype, mask.shape) for name, mask in masks.items()} == {
        name: (torch.bool, weight.shape) for name, weight in weights.items()
    }


@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_within_a_layer_the_smallest_go_under_every_allocation(weights: dict, allocation: str) -> None:
    for name, mask in _magnitude_masks(weights, None, 0.5, allocation=allocation).items():
        magnitudes = weights[name].abs()
        assert magnitudes[~mask].max() < magnitudes[mask].min()


@pytest.mark.parametrize(("size", "ratio", "count"), [(10, 0.5, 5), (45, 0.5, 22), (35, 0.5, 18), (3, 0.1, 0), (3, 0.99, 3)])
def test_counts_are_to_the_nearest_one(size: int, ratio: float, count: int) -> None:
    assert pruned_count(size, ratio) == count


@pytest.mark.parametrize(
    ("scores", "dropped", "kept"),
    [
        ([3.0, 1.0, 2.0, 4.0], 2, [True, False, False, True]),
        ([1.0, 1.0, 1.0, 1.0], 2, [False, False, True, True]),
        ([1.0, 2.0, 1.0, 1.0], 2, [False, True, False, True]),
        ([3.0, 1.0, 2.0, 4.0], 0, [True, True, True, True]),
        ([3.0, 1.0, 2.0, 4.0], 4, [False, False, False, False]),
    ],
)
def test_ties_go_in_the_order_of_memory(scores: list, dropped: int, kept: list) -> None:
    assert keep_highest(torch.tensor(scores), dropped).tolist() == kept


def test_a_long_tie_goes_in_the_order_of_memory_too() -> None:
    # Sorts that are not stable are so on short tensors by chance.
    assert keep_highest(torch.ones(100, 100), 3000).flatten().tolist() == [False] * 3000 + [True] * 7000


def test_ties_between_layers_go_in_the_networks_order() -> None:
    weights = {"first": torch.ones(1, 3), "second": torch.ones(1, 3)}
    assert _lost(_magnitude_masks(weights, None, 0.5, allocation="global")) == {"first": 3, "second": 0}


@pytest.mark.parametrize(
    ("magnitudes", "scores"),
    [
        ([2.0, 1.0, 3.0], [4 / 13, 1 / 14, 1]),
        ([5.0], [1]),
        # Of two equal ones, the first in memory has the other above it.
        ([1.0, 1.0], [1 / 2, 1]),
        ([0.0, 2.0], [0, 1]),
        ([0.0, 0.0], [0, 0]),
    ],
)
def test_lamp_scores_by_hand(magnitudes: list, scores: list) -> None:
    assert lamp_scores(torch.tensor(magnitudes)).tolist() == pytest.approx(scores)


def test_lamp_ranks_a_layer_as_magnitudes_do_and_scores_its_largest_one() -> None:
    magnitudes = torch.rand(1000)
    scores = lamp_scores(magnitudes)
    assert torch.equal(scores.argsort(), magnitudes.argsort())
    assert scores.max().item() == 1


def test_lamp_does_not_see_the_scale_of_a_layer() -> None:
    magnitudes = torch.rand(100)
    assert lamp_scores(1000 * magnitudes).tolist() == pytest.approx(lamp_scores(magnitudes).tolist(), rel=1e-5)


@pytest.mark.parametrize(("ratio", "budget"), [(1 / 6, (1, 0)), (1 / 3, (2, 0)), (1 / 2, (2, 1)), (2 / 3, (2, 2))])
def test_lamp_budget_by_hand(ratio: float, budget: tuple) -> None:
    # LAMP scores 1/14, 4/13 and 1 in one layer, 1/3, 1/2 and 1 in the other.
    weights = {"uneven": torch.tensor([[3.0, -1.0, 2.0]]), "even": torch.tensor([[1.0, 1.0, -1.0]])}
    assert tuple(budget_of(weights, None, ratio, lwm.Params(allocation="lamp")).values()) == budget


def test_lamp_looks_at_the_dense_weights_whatever_the_scores() -> None:
    weights = {"uneven": torch.tensor([[3.0, -1.0, 2.0]]), "even": torch.tensor([[1.0, 1.0, -1.0]])}
    scores = {"uneven": torch.tensor([[1.0, 2.0, 3.0]]), "even": torch.tensor([[0.1, 0.2, 0.3]])}
    budget = budget_of(weights, None, 1 / 3, lwm.Params(allocation="lamp"), scores)
    assert budget == {"uneven": 2, "even": 0}
    # The same scores in competition take two of the other layer.
    assert budget_of(weights, None, 1 / 3, lwm.Params(allocation="global"), scores) == {"uneven": 0, "even": 2}


SHAPES = {"a": (2, 2), "b": (4, 8)}  # (2 + 2) / 4 = 1 and 12 / 32 = 3 / 8.
CASCADE = {"a": (1, 2), "b": (2, 3), "c": (4, 10)}  # 3 / 2, 5 / 6 and 7 / 20.


@pytest.mark.parametrize(
    ("shapes", "density", "expected"),
    [
        # 1 * 4 + 3/8 * 32 = 16, and 9 of 36 weights stay: a factor of 9/16.
        (SHAPES, 0.25, {"a": 9 / 16, "b": 9 / 16 * 3 / 8}),
        # 18 stay; the factor of 18/16 would be too much for the first, so the second keeps 14 of 32.
        (SHAPES, 0.5, {"a": 1, "b": 14 / 32}),
        # A convolution's dimensions add up with its window's: (6 + 2 + 3 + 3) / 108 against (2 + 9) / 18.
        (
            {"conv": (6, 2, 3, 3), "linear": (2, 9)},
            0.1,
            {"conv": 12.6 / 25 * 14 / 108, "linear": 12.6 / 25 * 11 / 18},
        ),
        # 25.44 of 48 stay. First `a` is full; what is left then is too much for `b` as well: 17.44 of 40 for `c`.
        (CASCADE, 0.53, {"a": 1, "b": 1, "c": 17.44 / 40}),
        # Nothing is pruned.
        (SHAPES, 1.0, {"a": 1, "b": 1}),
    ],
)
def test_erk_densities_by_hand(shapes: dict, density: float, expected: dict) -> None:
    weights = {name: torch.zeros(shape) for name, shape in shapes.items()}
    sizes = {name: weight.numel() for name, weight in weights.items()}
    densities = erk_densities(weights, sizes, density)
    assert densities == pytest.approx(expected)
    assert sum(densities[name] * sizes[name] for name in sizes) == pytest.approx(density * sum(sizes.values()))


@pytest.mark.parametrize(
    ("sizes", "density", "expected"),
    [
        # 1 / (f size + 1) with f = 0.00544164: 64.8 and 155.2 weights are 220, a fifth of 1100.
        ((100, 1000), 0.2, (0.64760, 0.15524)),
        ((30, 30, 30), 0.1, (0.1, 0.1, 0.1)),
        ((5, 7), 1.0, (1, 1)),
    ],
)
def test_igq_densities_by_hand(sizes: tuple, density: float, expected: tuple) -> None:
    assert tuple(igq_densities(dict(enumerate(sizes)), density).values()) == pytest.approx(expected, abs=1e-5)


def test_erk_budget_by_hand() -> None:
    weights = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    # Of 4 and 32 weights, 2.25 and 6.75 stay, so 1.75 and 25.25 go.
    assert budget_of(weights, None, 0.75, lwm.Params(allocation="erk")) == {"a": 2, "b": 25}


@pytest.mark.parametrize(
    ("shares", "sizes", "ratio", "budget"),
    [
        # 1.5 and 1.5 are to be 3: of equal remainders, the first block's is rounded up.
        ((0.5, 0.5), (3, 3), 0.5, (2, 1)),
        # 3.4 and 4.7 are to be 8: the larger remainder is rounded up.
        ((0.34, 0.47), (10, 10), 0.4, (3, 5)),
        # 2.2, 2.3 and 2.5 are to be 7.
        ((0.22, 0.23, 0.25), (10, 10, 10), 7 / 30, (2, 2, 3)),
        # 9 and 8 are one too many for 16, and neither has a remainder.
        ((0.9, 0.8), (10, 10), 0.8, (8, 8)),
        # 5.9 and 5.1 are cut to 10 already.
        ((0.59, 0.51), (10, 10), 0.5, (5, 5)),
        # Shares are clamped to [0, 1]; what is missing then goes to who can still lose some.
        ((1.2, -0.2), (4, 4), 0.5, (4, 0)),
        ((1.2, -0.2), (4, 4), 0.75, (4, 2)),
        ((1.0, 0.0), (4, 4), 0.25, (2, 0)),
        # Nine more are missing, in rounds of one a block; the first block has but one to give.
        ((0.0, 0.1, 0.0), (1, 10, 4), 10 / 15, (1, 5, 4)),
    ],
)
def test_division_by_hand(shares: tuple, sizes: tuple, ratio: float, budget: tuple) -> None:
    names = "abc"[: len(sizes)]
    divided = divide(dict(zip(names, shares, strict=True)), dict(zip(names, sizes, strict=True)), ratio)
    assert tuple(divided.values()) == budget


def test_division_is_exact_and_near_whatever_the_shares() -> None:
    sizes = {"a": 7, "b": 50, "c": 213, "d": 1}
    for seed in range(50):
        generator = torch.Generator().manual_seed(seed)
        shares = dict(zip(sizes, torch.rand(4, generator=generator).tolist(), strict=True))
        ratio = sum(shares[name] * sizes[name] for name in sizes) / 271
        budget = divide(shares, sizes, ratio)
        assert sum(budget.values()) == round(ratio * 271)
        assert all(abs(budget[name] - shares[name] * sizes[name]) < 1 for name in sizes)


def test_a_filters_score_is_the_sum_over_its_weights(tiny: nn.Module, layout: Layout) -> None:
    scores = {name: torch.randn(weight.shape) for name, weight in prunable_weights(tiny).items()}
    by_block = units(scores, layout, FILTER)
    assert {block: values.shape for block, values in by_block.items()} == {"0.weight": (3,), "3.weight": (8,)}
    assert by_block["0.weight"][1].item() == pytest.approx(scores["0.weight"][1].sum().item())
    assert by_block["3.weight"][7].item() == pytest.approx(scores["3.weight"][7].sum().item())


def test_a_filters_score_is_the_sum_over_all_layers_of_its_group(residual: nn.Module) -> None:
    scores = {name: torch.randn(weight.shape) for name, weight in prunable_weights(residual).items()}
    by_block = units(scores, Layout(residual, (1, 8, 8)), FILTER)
    expected = scores["0.weight"][2].sum() + scores["3.conv2.weight"][2].sum()
    assert by_block["0.weight"][2].item() == pytest.approx(expected.item())


def test_weights_are_units_of_their_own() -> None:
    assert units({"layer": torch.tensor([[1.0, 2.0], [3.0, 4.0]])}, None, WEIGHT)["layer"].tolist() == [1, 2, 3, 4]


def test_what_is_kept_of_a_group_is_kept_in_all_its_layers(residual: nn.Module) -> None:
    weights, layout = prunable_weights(residual), Layout(residual, (1, 8, 8))
    kept = {group.layers[0]: torch.ones(len(weights[group.layers[0]]), dtype=torch.bool) for group in layout.groups}
    kept["0.weight"][1] = False
    masks = spread(kept, layout, FILTER, weights)
    assert _lost(masks) == dict.fromkeys(weights, 0) | {"0.weight": 9, "3.conv2.weight": 36}
    assert not masks["3.conv2.weight"][1].any()


def test_filters_by_l1_norm_by_hand(tiny: nn.Module, layout: Layout) -> None:
    weights = prunable_weights(tiny)
    for name, sizes in {"0.weight": [2.0, 0.1, 1.0], "3.weight": [5.0, 1.0, 4.0, 2.0, 8.0, 7.0, 3.0, 6.0]}.items():
        weights[name].data = torch.ones_like(weights[name]) * torch.tensor(sizes).view(-1, *[1] * (weights[name].dim() - 1))
    # One large weight does not save a filter, if the others are small.
    weights["0.weight"].data[1, 0, 0, 0] = 5
    masks = _magnitude_masks(weights, layout, 0.5, granularity="filter")
    # Half of 3 is rounded to 2: 18, 5.8 and 9 are the norms.
    assert masks["0.weight"].flatten(1).all(dim=1).tolist() == [True, False, False]
    assert masks["3.weight"].all(dim=1).nonzero().flatten().tolist() == [0, 4, 5, 7]


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.7, 0.83])
@pytest.mark.parametrize("allocation", ALLOCATIONS)
def test_filters_go_whole_and_one_stays_in_each_layer(tiny, layout, allocation: str, ratio: float) -> None:
    masks = _magnitude_masks(prunable_weights(tiny), layout, ratio, granularity="filter", allocation=allocation)
    rows = {name: mask.flatten(1) for name, mask in masks.items()}
    assert all((row.all(dim=1) | ~row.any(dim=1)).all() for row in rows.values())
    kept = {name: int(row.any(dim=1).sum()) for name, row in rows.items()}
    assert kept["0.weight"] >= 1
    assert kept["3.weight"] >= 1
    assert kept["5.weight"] == 4
    if allocation == "uniform":
        assert kept == {"0.weight": 3 - round(ratio * 3), "3.weight": 8 - round(ratio * 8), "5.weight": 4}
    else:
        assert kept["0.weight"] + kept["3.weight"] == 11 - round(ratio * 11)


def test_where_filters_compete_a_layer_keeps_its_highest_and_others_go_for_it(tiny: nn.Module, layout: Layout) -> None:
    # All three filters of the first layer are smaller than those of the second, of which the smallest goes in place of one.
    weights = prunable_weights(tiny)
    weights["0.weight"].data *= 1e-3
    masks = _magnitude_masks(weights, layout, 3 / 11, granularity="filter", allocation="global")
    for name, lost in [("0.weight", 2), ("3.weight", 1)]:
        sums = weights[name].detach().abs().flatten(1).sum(dim=1)
        assert torch.equal(masks[name].flatten(1).all(dim=1), keep_highest(sums, lost))


@pytest.mark.parametrize("allocation", ["erk", "lamp", "global"])
def test_competing_filters_have_the_ratio_to_the_last_one_that_leaves_each_layer_one(tiny, layout, allocation: str) -> None:
    weights = prunable_weights(tiny)
    masks = _magnitude_masks(weights, layout, 9 / 11, granularity="filter", allocation=allocation)
    assert [int(masks[name].flatten(1).any(dim=1).sum()) for name in ("0.weight", "3.weight")] == [1, 1]
    told = "the ratio 0.9 would leave 1 of all 11 filters to 2 layers, each of which keeps one; valid: at most 0.8636"
    with pytest.raises(SparrowError, match=f"^{re.escape(told)}$"):
        _magnitude_masks(weights, layout, 0.9, granularity="filter", allocation=allocation)


def test_a_ratio_that_rounds_to_no_filter_is_refused_by_layer_and_largest_ratio(tiny: nn.Module, layout: Layout) -> None:
    weights = prunable_weights(tiny)
    with pytest.raises(SparrowError, match=r"^the ratio 0\.9 would remove all 3 filters of 0\.weight; valid: at most 0\.8333$"):
        _magnitude_masks(weights, layout, 0.9, granularity="filter")
    assert _lost(_magnitude_masks(weights, layout, 0.8333, granularity="filter"))["0.weight"] == 18


def test_erk_for_filters_by_hand(tiny: nn.Module, layout: Layout) -> None:
    # (3 + 1 + 3 + 3) / 27 for each of 3 filters, (8 + 12) / 96 for each of 8: 10/9 and 5/3, of which 5.5 filters stay.
    # That were more filters than the first layer has, so all of its 3 stay and 2.5 of the second's 8.
    budget = budget_of(prunable_weights(tiny), layout, 0.5, lwm.Params(granularity="filter", allocation="erk"))
    kept = 5.5 / (10 / 9 + 5 / 3)
    assert kept * 10 / 27 < 1
    assert budget == {"0.weight": round(3 - kept * 10 / 9), "3.weight": 6 - round(3 - kept * 10 / 9)}


def _whole(weights: dict) -> dict[str, Tensor]:
    return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}


def _without(weights: dict, filters: dict[str, list[int]]) -> dict[str, Tensor]:
    """Masks without these filters."""
    masks = _whole(weights)
    for name, places in filters.items():
        masks[name][places] = False
    return masks


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("granularity", ["weight", "filter"])
def test_the_check_passes_what_allocations_give(residual, granularity: str, ratio: float, allocation: str) -> None:
    weights, layout = prunable_weights(residual), Layout(residual, (1, 8, 8))
    if granularity == "filter":
        ratio = min(ratio, 0.8)  # More would leave one of four groups no filter.
    masks = _magnitude_masks(weights, layout, ratio, granularity=granularity, allocation=allocation)
    assert check_masks(masks, weights, layout, ratio, f"{granularity}s") is None


def test_the_check_wants_a_mask_of_every_layer(tiny: nn.Module, layout: Layout) -> None:
    weights = prunable_weights(tiny)
    masks = _magnitude_masks(weights, layout, 0.5)
    del masks["3.weight"]
    expected = "gave masks for ['0.weight', '5.weight'], expected ['0.weight', '3.weight', '5.weight']"
    assert check_masks(masks, weights, layout, 0.5, "weights") == expected


# `tiny` has 27 + 96 + 32 = 155 weights, 77.5 of which are to go. To one weight a layer: three more or less may.
@pytest.mark.parametrize(
    ("pruned", "message"),
    [
        (75, None),
        (78, None),
        (80, None),
        (74, "pruned 74 of 155 weights, the ratio 0.5 asks for 78"),
        (81, "pruned 81 of 155 weights, the ratio 0.5 asks for 78"),
        (0, "pruned 0 of 155 weights, the ratio 0.5 asks for 78"),
    ],
)
def test_the_check_counts_weights(tiny: nn.Module, layout: Layout, pruned: int, message: str | None) -> None:
    weights = prunable_weights(tiny)
    masks = _whole(weights)
    masks["3.weight"].view(-1)[:pruned] = False
    assert check_masks(masks, weights, layout, 0.5, "weights") == message


# 3 + 8 filters, 5.5 of which are to go: to one filter a group.
@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"0.weight": [0], "3.weight": [0, 1, 2, 3]}, None),
        ({"3.weight": [0, 1, 2, 3]}, None),
        ({"3.weight": [0, 1, 2]}, "pruned 3 of 11 filters, the ratio 0.5 asks for 6"),
        ({"0.weight": [0, 1], "3.weight": [0, 1, 2, 3, 4, 5]}, "pruned 8 of 11 filters, the ratio 0.5 asks for 6"),
    ],
)
def test_the_check_counts_filters(tiny: nn.Module, layout: Layout, filters: dict, message: str | None) -> None:
    weights = prunable_weights(tiny)
    assert check_masks(_without(weights, filters), weights, layout, 0.5, "filters") == message


@pytest.mark.parametrize("budget", ["filters", "multiply-adds"])
def test_the_check_refuses_holes_in_filters(tiny: nn.Module, layout: Layout, budget: str) -> None:
    weights = prunable_weights(tiny)
    masks = _without(weights, {"0.weight": [0], "3.weight": [0, 1, 2, 3]})
    masks["3.weight"][5, 0] = False
    expected = "pruned single weights of 3.weight, not whole filters"
    assert check_masks(masks, weights, layout, 0.5, budget) == expected


@pytest.mark.parametrize("budget", ["filters", "multiply-adds"])
def test_the_check_spares_the_output_layer(tiny: nn.Module, layout: Layout, budget: str) -> None:
    weights = prunable_weights(tiny)
    masks = _without(weights, {"0.weight": [0], "3.weight": [0, 1, 2, 3], "5.weight": [1]})
    expected = "pruned filters of 5.weight, which is the output layer"
    assert check_masks(masks, weights, layout, 0.5, budget) == expected


# The convolution costs 36 multiply-adds a filter (9 weights at 2 x 2 places), a neuron behind it 4 for each of its filters
# and 4 for the classes. Half of the filters, 2 of 3 and 4 of 8, leave 36 + 16 + 16 = 68.
@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"0.weight": [0, 1], "3.weight": [0, 1, 2, 3]}, None),
        # 36 + 5 * 4 + 5 * 4 = 76
        (
            {"0.weight": [0, 1], "3.weight": [0, 1, 2]},
            "keeps more multiply-adds than the ratio 0.5 leaves (filters lost: {'0.weight': 2, '3.weight': 3})",
        ),
        # 36 + 3 * 8 = 60: one more filter would give 72 + 3 * 12 = 108, but one more neuron 68 again.
        (
            {"0.weight": [0, 1], "3.weight": [0, 1, 2, 3, 4]},
            "prunes more multiply-adds than the ratio 0.5 asks for (filters lost: {'0.weight': 2, '3.weight': 5})",
        ),
        ({}, "keeps more multiply-adds than the ratio 0.5 leaves (filters lost: {'0.weight': 0, '3.weight': 0})"),
    ],
)
def test_the_check_counts_multiply_adds(tiny: nn.Module, layout: Layout, filters: dict, message: str | None) -> None:
    weights = prunable_weights(tiny)
    assert check_masks(_without(weights, filters), weights, layout, 0.5, "multiply-adds") == message


def test_the_check_sees_that_too_many_multiply_adds_are_gone(tiny: nn.Module, layout: Layout) -> None:
    # A third of 3 and 3 of 8 leave 2 * 36 + 5 * 12 = 132; of 36 + 4 * 8 = 68, one more filter gives 72 + 4 * 12 = 120.
    weights = prunable_weights(tiny)
    masks = _without(weights, {"0.weight": [0, 1], "3.weight": [0, 1, 2, 3]})
    expected = "prunes more multiply-adds than the ratio 0.35 asks for (filters lost: {'0.weight': 2, '3.weight': 4})"
    assert check_masks(masks, weights, layout, 0.35, "multiply-adds") == expected


def test_a_filter_masked_in_one_layer_of_its_group_counts_as_kept(residual: nn.Module) -> None:
    weights, layout = prunable_weights(residual), Layout(residual, (1, 8, 8))
    # 4 + 4 + 6 + 6 filters in four groups, of which 4 are gone; 6 of those that are not coupled.
    coupled = {"0.weight": [0, 1], "3.conv1.weight": [0, 1], "4.conv1.weight": [0, 1]}
    assert check_masks(_without(weights, coupled), weights, layout, 0.5, "filters") == (
        "pruned 4 of 20 filters, the ratio 0.5 asks for 10"
    )
    both = coupled | {"3.conv2.weight": [0, 1]}
    assert check_masks(_without(weights, both), weights, layout, 0.5, "filters") is None


def test_a_fault_names_its_method(tiny: nn.Module, layout: Layout) -> None:
    weights = prunable_weights(tiny)
    with pytest.raises(SparrowError, match=re.escape("methods.lwm: pruned 0 of 155 weights, the ratio 0.5 asks for 78")):
        raise_for(_whole(weights), weights, layout, 0.5, "weights", "lwm")


def test_no_fault_raises_nothing(tiny: nn.Module, layout: Layout) -> None:
    weights = prunable_weights(tiny)
    assert raise_for(_magnitude_masks(weights, layout, 0.5), weights, layout, 0.5, "weights", "lwm") is None
