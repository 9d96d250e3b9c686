"""Networks of others whose filters are cut out: what can go goes, what cannot stays as zeros, and the logits are the same."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.errors import CheckpointError, NetworkError
from sparrow.files import _kept_filters as kept_filters
from sparrow.files import compact
from sparrow.networks.channel_blocks import cut_out
from sparrow.networks.channel_graph import Place
from sparrow.networks.cutting import Cut, cut, difference, expanded, expanded_masks, without_filters
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import Layout, filter_masks, require_followed
from tests.networks.test_cutting import stepped
from tests.older import save_compact

SHAPE = (1, 8, 8)


class Swapped(nn.Module):
    """The two halves of the channels change places."""

    def forward(self, maps: Tensor) -> Tensor:
        first, second = maps.chunk(2, 1)
        return torch.cat([second, first], 1)


class LastAxis(nn.LayerNorm):
    """A layer norm over the channels of maps, and of them alone."""

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Dense(nn.Module):
    """What is given and what a convolution makes of it, normalised side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(16)

    def forward(self, maps: Tensor) -> Tensor:
        return self.norm(torch.cat([maps, self.conv(maps)], 1))


class Scaled(nn.Module):
    """A scale for each channel that belongs to no layer of torch's."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(8, 1, 1))

    def forward(self, maps: Tensor) -> Tensor:
        return self.scale * maps


def network(*middle: nn.Module, maps: int) -> nn.Module:
    """The layers between a convolution of eight filters and a linear layer, none of them as it begins."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), *map(copy.deepcopy, middle), nn.ReLU(), nn.Flatten(), nn.Linear(maps, 10)
    )
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


def depthwise() -> nn.Module:
    return network(nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=8), maps=512)


def plain() -> nn.Module:
    return network(nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1), maps=256)


CONV = nn.Conv2d(8, 8, 3, padding=1)
# The layers in the middle, what they give out; how many filters each group has, and how many are left if the first half goes.
WHOLE = {
    "depthwise": ((nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8)), 512, [4]),
    "batch norm without scale": ((nn.BatchNorm2d(8, affine=False), CONV), 512, [4, 4]),
    "batch norm behind a flattening": ((nn.Flatten(), nn.BatchNorm1d(512)), 512, [4]),
    "batch norm behind a concatenation": ((Dense(), nn.ReLU(), nn.Conv2d(16, 8, 3, padding=1)), 512, [4, 4, 4]),
    "instance norm": ((nn.InstanceNorm2d(8, affine=True), CONV), 512, [4, 4]),
    "group norm, whole groups": ((nn.GroupNorm(2, 8), CONV), 512, [4, 4]),
    "group norm of single channels": ((nn.GroupNorm(8, 8), CONV), 512, [4, 4]),
    "slopes of channels": ((nn.PReLU(8), CONV, nn.PReLU()), 512, [4, 4]),
    "a scale outside of layers": ((Scaled(), nn.ReLU(), CONV), 512, [4, 4]),
    "LeakyReLU, ReLU6, Hardswish, GELU": (
        (nn.LeakyReLU(), CONV, nn.ReLU6(), CONV, nn.Hardswish(), CONV, nn.GELU()),
        512,
        [4] * 4,
    ),
    "dropout": ((nn.Dropout2d(), CONV, nn.Dropout()), 512, [4, 4]),
}
PARTLY = {
    "layer norm": ((nn.LayerNorm([8, 8, 8]), nn.ReLU(), CONV), 512, [8, 4], "0: 4 removed .* 1 (LayerNorm)"),
    "layer norm of channels": ((LastAxis(8), nn.ReLU(), CONV), 512, [8, 4], "0: 4 removed .* 1 (LastAxis)"),
    "group norm, no group whole": ((nn.GroupNorm(1, 8), CONV), 512, [8, 4], "0: 4 removed .* 1 (GroupNorm)"),
    "convolution in groups": (
        (nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.ReLU(), CONV),
        *(512, [8, 8, 4], "0: 4 removed .* 2 (Conv2d).*; 2: 4 removed .* 2 (Conv2d)"),
    ),
    "two filters a channel": (
        (nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1, groups=8), nn.ReLU(), nn.Conv2d(16, 8, 3, padding=1)),
        *(512, [8, 16, 4], "0: 4 removed .* 2 (Conv2d).*; 2: 8 removed .* 2 (Conv2d)"),
    ),
    "pixel shuffle": ((nn.PixelShuffle(2), nn.Conv2d(2, 4, 3, padding=1)), 1024, [8, 2], "0: its removed filters cannot"),
    "halves that change places": ((Swapped(), nn.Conv2d(8, 4, 3, padding=1)), 256, [8, 2], "0: its removed filters cannot"),
    "sigmoid": ((nn.Sigmoid(), CONV), 512, [8, 4], "0: without its removed filters its logits differ"),
}


def masked(model: nn.Module, filters: slice | None = None) -> dict[str, Tensor]:
    """Zeros in `filters` of each group's layers, the first half if None, and in what goes with them; the masks."""
    layout = Layout(model, SHAPE)
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable_weights(model).items()}
    for name in (name for group in layout.groups for name in group.layers):
        masks[name][slice(len(masks[name]) // 2) if filters is None else filters] = False
    masks |= filter_masks(model, layout, masks)
    for name, mask in masks.items():
        model.get_parameter(name).data.mul_(mask)
    return masks


def left_of(model: nn.Module, masks: dict[str, Tensor]) -> tuple[Cut, list[int]]:
    """What `cut` leaves, held against the masked network and its twin, and the filters that each group has left."""
    images, fresh = torch.rand(5, *SHAPE), copy.deepcopy(model)
    found = cut(model, SHAPE, masks, images)
    assert difference(model, found.model, images) < 1e-6
    twin = expanded(found.model, fresh, found.kept)
    assert difference(model, twin, images) < 1e-6
    wide = expanded_masks(found.masks, found.kept)
    assert all(torch.equal(wide[name], mask) for name, mask in masks.items())
    header = {"shape": SHAPE} | ({"uncut": found.uncut} if found.uncut else {})
    kept_filters.require_same_as_masks("a file", fresh, header, found.masks, found.kept)
    weights = prunable_weights(found.model)
    return found, [len(weights[group.layers[0]]) for group in Layout(model, SHAPE).groups]


@pytest.mark.parametrize("name", WHOLE)
def test_layers_whose_channels_can_go_by_themselves_are_cut(name: str) -> None:
    middle, maps, sizes = WHOLE[name]
    model = network(*middle, maps=maps)
    found, left = left_of(model, masked(model))
    assert (left, found.uncut) == (sizes, None)


@pytest.mark.parametrize("name", PARTLY)
def test_what_cannot_be_cut_stays_as_zeros_and_is_named(name: str) -> None:
    middle, maps, sizes, told = PARTLY[name]
    model = network(*middle, maps=maps)
    found, left = left_of(model, masked(model))
    assert left == sizes
    assert found.uncut is not None
    for part in told.split(".*"):
        assert part.strip() in found.uncut
    assert found.uncut.count(";") == told.count(";")


@pytest.mark.parametrize("name", [*WHOLE, *PARTLY])
def test_a_step_of_what_is_left_is_one_of_the_masked_network(name: str) -> None:
    middle, maps, *_ = (WHOLE | PARTLY)[name]
    if "dropout" in name:
        pytest.skip("it draws other numbers for fewer channels")
    model = network(*middle, maps=maps)
    masks = masked(model)
    found = cut(model, SHAPE, masks, torch.rand(5, *SHAPE))
    large = stepped(copy.deepcopy(model).double(), masks, shape=SHAPE)
    small = stepped(found.model.double(), found.masks, shape=SHAPE)
    images = torch.rand(5, *SHAPE, dtype=torch.float64)
    assert difference(large.eval(), model.double().eval(), images) > 1e-3
    assert difference(large.eval(), small.eval(), images) < 1e-6


def test_of_each_group_of_a_convolution_as_many_go() -> None:
    model = network(nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1), maps=256)
    layout = Layout(model, SHAPE)
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable_weights(model).items()}
    masks["0.weight"][[0, 2, 3, 6]] = False
    masks["2.weight"][[1, 4, 5, 6]] = False
    masks |= filter_masks(model, layout, masks)
    for key, mask in masks.items():
        model.get_parameter(key).data.mul_(mask)
    found, left = left_of(model, masks)
    assert left == [6, 6, 4]
    # Of 0, 2, 3 in the first half the last, for there is one in the second.
    assert found.kept["0.weight"][0].tolist() == [True, True, True, False, True, True, False, True]
    assert found.kept["2.weight"][1].tolist() == [[True, True, True, False], [True, True, False, True]]
    assert found.model[2].weight.shape == (6, 3, 3, 3)
    assert "0: 2 removed filters stay" in found.uncut


@pytest.mark.parametrize("seed", range(20))
def test_what_goes_fits_all_blocks(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    removed = torch.rand(12, generator=generator) < 0.7
    every = torch.arange(12)
    grouped, normed = nn.Conv2d(12, 6, 1, groups=3), nn.GroupNorm(6, 12)
    gone, stays = cut_out(removed, [Place("a", grouped, False, every, every), Place("b", normed, False, every, every)])
    assert not (gone & ~removed).any()
    assert gone.view(3, 4).sum(1).unique().numel() == 1
    assert set(gone.view(6, 2).sum(1).tolist()) <= {0, 2}
    # Of groups of a convolution alone as many go as of the one with the fewest, and of a norm alone whole groups.
    alone = [cut_out(removed, [Place("a", layer, False, every, every)])[0] for layer in (grouped, normed)]
    assert alone[0].view(3, 4).sum(1).tolist() == [int(removed.view(3, 4).sum(1).min())] * 3
    assert torch.equal(alone[1].view(6, 2), removed.view(6, 2).all(dim=1, keepdim=True).expand(6, 2))
    assert (stays.filters if stays else 0) == int((removed & ~gone).sum())


def test_a_file_that_says_why_and_has_no_zeros_is_refused() -> None:
    model = plain()
    masks = masked(model)
    found = cut(model, SHAPE, masks, torch.rand(5, *SHAPE))
    header = {"shape": SHAPE, "uncut": "it is said"}
    with pytest.raises(CheckpointError, match="its filters are cut out, and its header says why they are not"):
        kept_filters.require_same_as_masks("a file", model, header, found.masks, found.kept)


def test_norms_that_see_other_channels_are_not_masked() -> None:
    """torch_pruning's graph has the halves in their old places."""
    model = network(Swapped(), nn.BatchNorm2d(8), maps=512)
    layout = Layout(model, SHAPE)
    assert layout.groups[0].norms == ("2",)
    assert layout.zeroed_norms == frozenset()
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable_weights(model).items()}
    masks["0.weight"][:2] = False
    assert set(filter_masks(model, layout, masks)) == {"0.bias"}


def test_a_layer_norm_over_pixels_is_not_masked_by_filters() -> None:
    model = network(nn.LayerNorm(8), nn.ReLU(), CONV, maps=512)  # As wide as there are filters.
    layout = Layout(model, SHAPE)
    assert layout.zeroed_norms == frozenset()
    assert not {"1.weight", "1.bias"} & set(filter_masks(model, layout, masked(model)))


@pytest.mark.parametrize("make", [plain, depthwise])
@pytest.mark.parametrize("filters", [slice(0, 2), slice(None)], ids=["some", "all"])
def test_without_its_filters_a_network_as_written_gives_the_same_logits(monkeypatch, tmp_path, make, filters):
    model, images = make(), torch.rand(3, *SHAPE)
    smaller = without_filters(model, SHAPE, masked(model, filters))
    header = {"model": {"kind": "own"}, "shape": SHAPE, "classes": 10, "stage": "pruned"}
    entry = SimpleNamespace(build=lambda *given: make())
    monkeypatch.setattr(catalogue, "from_spec", lambda *given: (entry, None))
    monkeypatch.setattr(compact, "refuse_other_parents", lambda *given: None)
    monkeypatch.setattr(compact, "read_header", lambda *given: header)
    monkeypatch.setattr(compact, "read", lambda path, expected: (header, load_file(path)))
    save_compact(tmp_path / "compact.safetensors", smaller, header)
    read, _ = compact.load(tmp_path / "compact.safetensors")
    assert sum(p.numel() for p in read.parameters()) < sum(p.numel() for p in model.parameters())
    assert torch.allclose(read(images), model(images), atol=1e-6)


def test_a_layer_that_nothing_goes_through_is_no_hindrance():
    model = plain()
    model[0].unused = nn.Linear(3, 3)
    require_followed(model, SHAPE)
    assert len(Layout(model, SHAPE).groups) == 2


class Counted(nn.Module):
    """A layer that torch_pruning cannot follow: what it does depends on the batch."""

    def forward(self, maps: Tensor) -> Tensor:
        if len(maps) == 1:
            raise ValueError("not for one image")
        return maps


@pytest.mark.parametrize(
    ("model", "line"),
    [
        (network(Counted(), maps=512), r"^its filters cannot be followed \(not for one image\); valid: methods with gran"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), "^it has no filters that could be removed; valid: methods with gran"),
    ],
)
def test_a_network_whose_filters_are_not_known_is_refused_in_one_line(model: nn.Module, line: str) -> None:
    with pytest.raises(NetworkError, match=line):
        require_followed(model, SHAPE)
