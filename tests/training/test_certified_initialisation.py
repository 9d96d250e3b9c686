"""The initialisation of Shi et al. as its authors release it: the last layer is left alone, residual additions are halved."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from sparrow.errors import NetworkError
from sparrow.models import cnn7, resnet18
from sparrow.training import certified_initialisation


def drawn(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """The formula: a standard normal times `sqrt(2 pi) / fan_in`."""
    return torch.randn(shape, generator=generator) * math.sqrt(2 * math.pi) / math.prod(shape[1:])


def test_cnn7_keeps_its_output_layer() -> None:
    model, untouched = (cnn7.build(cnn7.Params(), (1, 8, 8), 10) for _ in range(2))
    untouched.load_state_dict(model.state_dict())
    certified_initialisation.ibp(model, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    layers = [(own, old) for own, old in zip(model, untouched, strict=True) if isinstance(own, nn.Conv2d | nn.Linear)]
    for own, old in layers[:-1]:
        assert torch.allclose(own.weight, drawn(own.weight.shape, generator))
        assert torch.equal(own.bias, old.bias)
    assert torch.equal(model[-1].weight, untouched[-1].weight)
    # torch draws from a uniform distribution of half width 1 / sqrt(fan_in).
    assert model[-1].weight.std().item() == pytest.approx(1 / math.sqrt(3 * 512), rel=0.05)


def test_layers_behind_residual_additions_are_halved() -> None:
    model = resnet18.build(resnet18.Params(), (3, 8, 8), 10)
    certified_initialisation.ibp(model, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    # Every block but the first reads the sum of the one before, through its first convolution and its shortcut's.
    blocks = [f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)][1:]
    halved = {f"{block}.{part}" for block in blocks for part in ("conv1", "shortcut.0")}
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)}
    assert len(layers) == 20
    for name, layer in layers.items():
        factor = 0.5 if name in halved else 1.0
        assert torch.allclose(layer.weight, factor * drawn(layer.weight.shape, generator)), name


class Joined(nn.Module):
    """Layers that read a sum, a sum of one tensor and a number, a norm of a sum, and a sum through a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d, self.last = (nn.Linear(4, 4) for _ in range(5))
        self.norm = nn.BatchNorm1d(4)

    def forward(self, inputs: Tensor) -> Tensor:
        first = (self.a(inputs) + inputs).relu()
        second = self.b(first) + 1
        third = self.c(torch.relu(second))
        fourth = self.d(torch.relu(self.norm(third + inputs)))
        return self.last(torch.relu(fourth.add(inputs)))


def test_what_is_halved_reads_a_sum_of_two_through_one_layer() -> None:
    model = Joined()
    weights = {name: layer.weight.clone() for name, layer in model.named_children() if name != "norm"}
    certified_initialisation.ibp(model, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    for name, factor in (("a", 1), ("b", 0.5), ("c", 1), ("d", 1)):
        assert torch.allclose(getattr(model, name).weight, factor * drawn((4, 4), generator)), name
    # The output layer keeps its weights, and halves them as the authors' code does.
    assert torch.equal(model.last.weight, weights["last"] / 2)


def test_plain_layers_keep_the_mean_width_of_intervals() -> None:
    model = nn.Sequential(*(layer for _ in range(6) for layer in (nn.Linear(800, 800), nn.ReLU())), nn.Linear(800, 10))
    certified_initialisation.ibp(model, torch.Generator().manual_seed(3))
    low = torch.rand(20, 800, generator=torch.Generator().manual_seed(0))
    high = low + 0.1
    with torch.no_grad():
        for layer in model[:-1]:
            if isinstance(layer, nn.Linear):
                centre, radius = layer((low + high) / 2), (high - low) / 2 @ layer.weight.abs().T
                low, high = centre - radius, centre + radius
            else:
                low, high = low.relu(), high.relu()
    assert (high - low).mean().item() == pytest.approx(0.1, rel=0.2)


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs) if inputs.sum() > 0 else inputs


def test_a_network_that_cannot_be_followed_is_refused() -> None:
    with pytest.raises(NetworkError, match=r"initialisation: ibp cannot tell .*; valid: default"):
        certified_initialisation.ibp(Branching(), torch.Generator())
