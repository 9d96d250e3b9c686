"""Networks at their physical size: they train as the masked ones do, and become these again."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow import catalogue
from sparrow.errors import NetworkError
from sparrow.networks.cutting import cut, difference, expanded, expanded_masks, kept_slices, narrowed, sliced
from sparrow.networks.prunable import NORMS, prunable_weights
from sparrow.networks.structure import Layout, filter_masks
from sparrow.stages._held_masks import HeldMasks
from sparrow.training.loop import Step

SHAPE = (1, 16, 16)


def built(kind: str) -> nn.Module:
    """A seeded network of the catalogue whose norms are anything but the identity."""
    torch.manual_seed(0)
    entry = catalogue.load("models", kind)
    model = entry.build(entry.Params(), SHAPE, 10)
    for module in model.modules():
        if isinstance(module, NORMS):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 2)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(std=0.1)
        if isinstance(module, nn.Dropout):
            # What it draws depends on the size of what it drops.
            module.p = 0.0
    return model


def masked(model: nn.Module, shape: tuple[int, int, int] = SHAPE, share: float = 0.5, whole: bool = False) -> dict[str, Tensor]:
    """Zeros in a random `share` of the filters of each group and what goes with them; in all of the first group, if `whole`.

    Returns the masks.
    """
    layout, generator = Layout(model, shape), torch.Generator().manual_seed(0)
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable_weights(model).items()}
    for place, group in enumerate(layout.groups):
        size = len(masks[group.layers[0]])
        gone = torch.randperm(size, generator=generator)[: size if whole and not place else int(share * size)]
        for name in group.layers:
            masks[name][gone] = False
    masks |= filter_masks(model, layout, masks)
    for name, mask in masks.items():
        model.get_parameter(name).data.mul_(mask)
    return masks


def stepped(model: nn.Module, masks: dict[str, Tensor], steps: int = 2, shape: tuple[int, int, int] = SHAPE) -> nn.Module:
    """The network after steps of fine-tuning under its masks, which begin with momentum and decay weights."""
    hooks, rate = HeldMasks(model.train(), masks), torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=0.01)
    generator = torch.Generator().manual_seed(1)
    for number in range(steps):
        images = torch.rand(16, *shape, generator=generator, dtype=torch.float64)
        rate.zero_grad()
        functional.cross_entropy(model(images), torch.arange(16) * 7 % 10).backward()
        place = Step(number, steps, steps, steps, 0.05, lambda: None)
        hooks.after_backward(place)
        rate.step()
        hooks.after_step(place)
    return model


@pytest.mark.parametrize("kind", catalogue.kinds("models"))
def test_a_step_of_the_small_network_is_one_of_the_masked_network(kind: str) -> None:
    model = built(kind)
    masks = masked(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    kept = kept_slices(model, SHAPE, masks)
    smaller = narrowed(model, kept)
    left = {name: sliced(mask, kept.get(name, {})) for name, mask in masks.items()}
    # In float64 and on 16 images: norms over few values amplify what rounding does (resnet50's last maps have one pixel; over
    # four images to 1e-7 and more, over these to 1e-10), and a difference of kind is not of this size.
    small, large = stepped(smaller.double(), left), stepped(model.double(), masks)
    moved = 0
    for name, tensor in large.state_dict().items():
        expected = sliced(tensor, kept.get(name, {}))
        torch.testing.assert_close(small.state_dict()[name], expected, rtol=1e-5, atol=1e-7)
        moved += int(not torch.equal(tensor, before[name].to(tensor.dtype)))
    assert moved == len(before), "each tensor has learned something, running statistics, too"
    assert sum(p.numel() for p in small.parameters()) < 0.6 * sum(p.numel() for p in large.parameters())


@pytest.mark.parametrize("kind", ["cnn-small", "resnet2b"])
@pytest.mark.parametrize("whole", [False, True], ids=["half of each layer", "a layer in all"])
def test_cut_and_expanded_a_network_is_the_masked_one_in_all_that_masks_hold(kind: str, whole: bool) -> None:
    model = built(kind)
    masks, images = masked(model, whole=whole), torch.rand(5, *SHAPE)
    smaller, left, kept, _ = cut(model, SHAPE, masks, images)
    twin = expanded(smaller, built(kind), kept)
    assert difference(model.eval(), twin.eval(), images) < 1e-6
    assert difference(twin, smaller.eval(), images) < 1e-6
    found = expanded_masks(left, kept)
    assert found.keys() == masks.keys()
    assert all(torch.equal(found[name], mask) for name, mask in masks.items())
    free = 0
    for name, tensor in twin.state_dict().items():
        before = model.state_dict()[name]
        apart = tensor != before
        # Only what would read a removed filter is another, and zero: nothing held it, and no logit depends on it.
        assert not tensor[apart].any()
        free += int(apart.sum())
        assert name not in masks or not apart[~masks[name]].any()
    assert free > 0
    again, _, kept_again, _ = cut(twin, SHAPE, found, images)
    assert {name: {dim: kept.tolist() for dim, kept in one.items()} for name, one in kept_again.items()} == {
        name: {dim: kept.tolist() for dim, kept in one.items()} for name, one in kept.items()
    }
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in smaller.state_dict().items())


def test_norms_keep_their_statistics_and_get_fresh_ones_for_what_was_removed(residual: nn.Module) -> None:
    masks, fresh = masked(residual, (1, 8, 8)), copy.deepcopy(residual)
    for module in fresh.modules():
        if isinstance(module, NORMS):
            module.reset_running_stats()
    smaller, _, kept, _ = cut(residual, (1, 8, 8), masks, torch.rand(3, 1, 8, 8))
    there = kept["1.running_mean"][0]
    assert there.tolist() == masks["1.bias"].tolist()
    twin = expanded(smaller, fresh, kept)
    for name, empty in (("running_mean", 0), ("running_var", 1)):
        found, before = getattr(twin[1], name), getattr(residual[1], name)
        assert torch.equal(found[there], before[there])
        assert found[~there].tolist() == [empty] * int((~there).sum())


def test_filters_that_put_something_out_all_the_same_are_not_cut(tiny: nn.Module) -> None:
    masks, images = masked(tiny, (1, 4, 4)), torch.rand(3, 1, 4, 4)
    tiny[0].bias.data[~masks["0.bias"]] = 3.0
    # Those of the other layer are.
    found = cut(tiny, (1, 4, 4), masks, images)
    assert re.fullmatch(r"0: without its removed filters its logits differ by [\d.]+ \(relative\)", found.uncut)
    assert (len(found.model[0].weight), len(found.model[3].weight)) == (3, 4)
    assert difference(tiny, found.model, images) < 1e-6
    tiny[3].bias.data[~masks["3.bias"]] = 3.0
    with pytest.raises(NetworkError, match=r"^without its removed filters its logits differ by [\d.]+ \(relative\)$"):
        cut(tiny, (1, 4, 4), masks, images)


class Reversed(nn.Module):
    """The channels in the opposite order."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.flip(1)


def test_a_network_that_cannot_be_followed_is_not_cut() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), Reversed(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable_weights(model).items()}
    masks["0.weight"][0] = False
    for parameter in (model[0].weight, model[0].bias):
        parameter.data[0] = 0
    with pytest.raises(NetworkError, match=r"^without its removed filters its logits differ"):
        cut(model, (1, 8, 8), masks, torch.rand(2, 1, 8, 8))


def test_coupled_layers_whose_masks_disagree_keep_the_filter_and_their_masks(residual: nn.Module) -> None:
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable_weights(residual).items()}
    masks["0.weight"][[0, 2]] = masks["3.conv2.weight"][[0, 1]] = False
    masks |= filter_masks(residual, Layout(residual, (1, 8, 8)), masks)
    for name, mask in masks.items():
        residual.get_parameter(name).data.mul_(mask)
    smaller, left, kept, _ = cut(residual, (1, 8, 8), masks, torch.rand(3, 1, 8, 8))
    assert smaller[0].out_channels == 3
    assert left["0.weight"].flatten(1).any(dim=1).tolist() == [True, False, True]
    found = expanded_masks(left, kept)
    assert all(torch.equal(found[name], mask) for name, mask in masks.items())
