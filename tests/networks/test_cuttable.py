"""Networks of others whose filters are cut out: what was cut gives the masked one's logits, or is refused by layer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from sparrow import catalogue
from sparrow.errors import NetworkError
from sparrow.files import compact
from sparrow.networks.cutting import require_cuttable, without_filters
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import Layout, filter_masks
from tests.older import save_compact

SHAPE = (1, 8, 8)


class Swapped(nn.Module):
    """The two halves of the channels change places."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        first, second = maps.chunk(2, 1)
        return torch.cat([second, first], 1)


def network(*middle: nn.Module, maps: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), *middle, nn.ReLU(), nn.Flatten(), nn.Linear(maps, 10)).eval()


def depthwise() -> nn.Module:
    return network(nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=8), maps=512)


def plain() -> nn.Module:
    return network(nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1), maps=256)


def masked(model: nn.Module, filters: slice) -> dict[str, torch.Tensor]:
    """Zeros in `filters` of each group's layers, biases with them; the masks."""
    layout = Layout(model, SHAPE)
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable_weights(model).items()}
    for name in (name for group in layout.groups for name in group.layers):
        masks[name][filters] = False
    for name, mask in (masks | filter_masks(model, layout, masks)).items():
        model.get_parameter(name).data.mul_(mask)
    return masks


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


@pytest.mark.parametrize("make", [plain, depthwise])
def test_what_can_be_cut_is_not_refused(make):
    require_cuttable(make(), SHAPE)


def test_a_layer_that_nothing_goes_through_is_no_hindrance():
    model = plain()
    model[0].unused = nn.Linear(3, 3)
    require_cuttable(model, SHAPE)


@pytest.mark.parametrize(
    "model",
    [
        network(nn.LayerNorm([8, 8, 8]), maps=512),
        network(nn.Conv2d(8, 16, 3, padding=1, groups=8), maps=1024),
        network(nn.PixelShuffle(2), nn.Conv2d(2, 4, 3, padding=1), maps=1024),
        network(Swapped(), nn.Conv2d(8, 4, 3, padding=1), maps=256),
    ],
    ids=["layer norm", "depthwise with two filters a channel", "pixel shuffle", "halves that change places"],
)
def test_what_cannot_be_cut_is_refused_by_layer(model):
    with pytest.raises(NetworkError, match=r"^0: filters cannot be cut out.*valid: methods with granularity weight$"):
        require_cuttable(model, SHAPE)
