"""How layers hang together: groups of filters, multiply-adds, and networks without the filters that were pruned."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.networks.cutting import without_filters
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import FilterGroup, Layout, filter_masks, removed_filters

SHAPE = (1, 8, 8)


def _filters_gone(layout: Layout, weights: dict[str, Tensor], gone: dict[str, list[int]]) -> dict[str, Tensor]:
    """Masks without these filters, in all layers of their groups, which go by their first layer."""
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    for group in layout.groups:
        for name in group.layers:
            masks[name][gone.get(group.layers[0], [])] = False
    return masks


def _apply(model: nn.Module, masks: dict[str, Tensor]) -> None:
    for name, mask in masks.items():
        model.get_parameter(name).data.mul_(mask)


def test_additions_join_layers_into_groups(residual: nn.Module) -> None:
    assert Layout(residual, SHAPE).groups == [
        # The identity around the first block joins what the stem gives and what the block gives.
        FilterGroup(
            ("0.weight", "3.conv2.weight"),
            ("1", "3.bn2"),
            ("3.conv1.weight", "4.conv1.weight", "4.shortcut.0.weight"),
        ),
        FilterGroup(("3.conv1.weight",), ("3.bn1",), ("3.conv2.weight",)),
        FilterGroup(("4.conv1.weight",), ("4.bn1",), ("4.conv2.weight",)),
        # The second block adds its shortcut's convolution to its own.
        FilterGroup(("4.conv2.weight", "4.shortcut.0.weight"), ("4.bn2", "4.shortcut.1"), ("7.weight",)),
    ]


def test_a_plain_network_has_a_group_a_layer_but_the_last(tiny: nn.Module) -> None:
    assert Layout(tiny, (1, 4, 4)).groups == [
        FilterGroup(("0.weight",), (), ("3.weight",)),
        FilterGroup(("3.weight",), (), ("5.weight",)),
    ]


@pytest.mark.parametrize("kind", catalogue.kinds("models"))
def test_every_model_has_one_output_layer_outside_all_groups(kind: str) -> None:
    entry = catalogue.load("models", kind)
    model = entry.build(entry.Params(), (1, 16, 16), 10)
    groups, names = Layout(model, (1, 16, 16)).groups, list(prunable_weights(model))
    grouped = [name for group in groups for name in group.layers]
    assert sorted(grouped) == sorted(names[:-1])
    assert len({name for group in groups for name in group.readers}) == sum(len(group.readers) for group in groups)


def test_a_layout_leaves_the_network_as_it_was(residual: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in residual.state_dict().items()}
    layout = Layout(residual.train(), SHAPE)
    assert (len(layout.groups), len(layout.positions)) == (4, 7)
    assert residual.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in residual.state_dict().items())


def test_positions_are_the_pixels_of_an_output(residual: nn.Module) -> None:
    assert Layout(residual, SHAPE).positions == {
        "0.weight": 64,
        "3.conv1.weight": 64,
        "3.conv2.weight": 64,
        "4.conv1.weight": 16,
        "4.conv2.weight": 16,
        "4.shortcut.0.weight": 16,
        "7.weight": 1,
    }


def test_multiply_adds_by_hand(residual: nn.Module) -> None:
    stem, first = 64 * (4 * 9), 64 * (2 * 4 * 4 * 9)
    second, shortcut, output = 16 * (6 * 4 * 9 + 6 * 6 * 9), 16 * (6 * 4), 24 * 3
    layout = Layout(residual, SHAPE)
    assert layout.multiply_adds(prunable_weights(residual)) == stem + first + second + shortcut + output
    assert layout.multiply_adds({"7.weight": residual[7].weight}) == output


def test_multiply_adds_depend_on_the_image(tiny: nn.Module) -> None:
    convolution = nn.Sequential(nn.Conv2d(1, 3, 3, stride=2, padding=1))
    # 5 x 7 places for 10 x 13 pixels.
    assert Layout(convolution, (1, 10, 13)).multiply_adds(prunable_weights(convolution)) == 35 * 27


def test_a_filter_counts_as_removed_where_all_its_layers_mask_it() -> None:
    group = FilterGroup(("a", "b"), (), ())
    masks = {"a": torch.ones(4, 2, 3, 3, dtype=torch.bool), "b": torch.ones(4, 5, dtype=torch.bool)}
    masks["a"][[0, 1]] = False
    masks["b"][[1, 2]] = False
    # A filter that keeps one weight is there.
    masks["a"][3, 0] = False
    assert removed_filters(group, masks).tolist() == [False, True, False, False]


def test_biases_and_norms_of_removed_filters_are_masked(residual: nn.Module) -> None:
    layout = Layout(residual, SHAPE)
    masks = _filters_gone(layout, prunable_weights(residual), {"0.weight": [1], "4.conv2.weight": [0, 5]})
    found = {name: (~mask).nonzero().flatten().tolist() for name, mask in filter_masks(residual, layout, masks).items()}
    stem = {"0.bias", "1.weight", "1.bias", "3.bn2.weight", "3.bn2.bias"}
    last = {"4.bn2.weight", "4.bn2.bias", "4.shortcut.0.bias", "4.shortcut.1.weight", "4.shortcut.1.bias"}
    assert {name for name, gone in found.items() if gone == [1]} == stem
    assert {name for name, gone in found.items() if gone == [0, 5]} == last
    assert all(gone == [] for name, gone in found.items() if name not in stem | last)
    # The blocks' other convolutions have no bias to mask.
    assert set(found) <= {name for name, _ in residual.named_parameters()}


def test_a_filter_that_only_one_layer_masks_keeps_its_norms(residual: nn.Module) -> None:
    layout, weights = Layout(residual, SHAPE), prunable_weights(residual)
    masks = _filters_gone(layout, weights, {})
    masks["0.weight"][1] = False
    assert all(mask.all() for mask in filter_masks(residual, layout, masks).values())


@pytest.mark.parametrize("seed", range(5))
def test_a_network_without_its_pruned_filters_gives_the_same_logits(residual: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    layout, weights = Layout(residual, SHAPE), prunable_weights(residual)
    gone = {}
    for group in layout.groups:
        size = len(weights[group.layers[0]])
        lost = int(torch.randint(size, (), generator=generator))
        gone[group.layers[0]] = torch.randperm(size, generator=generator)[:lost].tolist()
    masks = _filters_gone(layout, weights, gone)
    _apply(residual, masks | filter_masks(residual, layout, masks))
    images = torch.rand(10, *SHAPE)
    smaller = without_filters(residual, SHAPE, masks)
    assert torch.allclose(smaller(images), residual(images), atol=1e-5)
    kept = {block: len(weights[block]) - len(lost) for block, lost in gone.items()}
    stem, inner, wide, out = (kept[name] for name in ("0.weight", "3.conv1.weight", "4.conv1.weight", "4.conv2.weight"))
    assert {name: tuple(weight.shape) for name, weight in prunable_weights(smaller).items()} == {
        "0.weight": (stem, 1, 3, 3),
        "3.conv1.weight": (inner, stem, 3, 3),
        "3.conv2.weight": (stem, inner, 3, 3),
        "4.conv1.weight": (wide, stem, 3, 3),
        "4.conv2.weight": (out, wide, 3, 3),
        "4.shortcut.0.weight": (out, stem, 1, 1),
        # Four pixels of each channel reach the output layer.
        "7.weight": (3, 4 * out),
    }
    assert smaller[1].running_mean.shape == (stem,)


def test_cutting_leaves_the_network_itself_whole(residual: nn.Module) -> None:
    weights = prunable_weights(residual)
    masks = _filters_gone(Layout(residual, SHAPE), weights, {"0.weight": [0, 1]})
    without_filters(residual, SHAPE, masks)
    assert residual[0].weight.shape == (4, 1, 3, 3)
    assert prunable_weights(residual)["3.conv1.weight"] is weights["3.conv1.weight"]


@pytest.mark.parametrize("name", ["0.weight", "3.conv2.weight"])
def test_a_filter_masked_in_one_of_two_coupled_layers_is_not_cut(residual: nn.Module, name: str) -> None:
    layout, weights = Layout(residual, SHAPE), prunable_weights(residual)
    masks = _filters_gone(layout, weights, {})
    masks[name][[0, 2]] = False
    _apply(residual, masks | filter_masks(residual, layout, masks))
    smaller = without_filters(residual, SHAPE, masks)
    images = torch.rand(10, *SHAPE)
    assert [weight.shape for weight in smaller.parameters()] == [weight.shape for weight in residual.parameters()]
    assert torch.allclose(smaller(images), residual(images), atol=1e-6)


def test_single_masked_weights_are_not_cut(tiny: nn.Module) -> None:
    masks = {name: torch.rand(weight.shape) > 0.5 for name, weight in prunable_weights(tiny).items()}
    masks["0.weight"][:, 0, 0, 0] = masks["3.weight"][:, 0] = True
    smaller = without_filters(tiny, (1, 4, 4), masks)
    assert [weight.shape for weight in smaller.parameters()] == [weight.shape for weight in tiny.parameters()]


def test_a_network_without_masks_is_its_own_copy(tiny: nn.Module) -> None:
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable_weights(tiny).items()}
    smaller, images = without_filters(tiny, (1, 4, 4), masks), torch.rand(3, 1, 4, 4)
    assert torch.equal(smaller(images), tiny(images))
    assert smaller[0] is not tiny[0]


def test_a_norm_behind_a_flattening_is_masked_by_the_entries_of_filters() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, 2))
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable_weights(network).items()}
    masks["0.weight"][[0, 2]] = False
    layout = Layout(network, (1, 4, 4))
    assert layout.groups[0].norms == ()
    found = filter_masks(network, layout, masks)
    assert found["2.weight"].tolist() == found["2.bias"].tolist() == ([False] * 4 + [True] * 4) * 2
