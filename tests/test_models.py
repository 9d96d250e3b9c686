"""Networks: their size, what they accept, and which of their tensors are pruned."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sparrow import catalogue
from sparrow.models._prunable import norm_parameters, prunable_weights


def _build(kind: str, shape: tuple[int, int, int], classes: int = 10) -> nn.Module:
    entry = catalogue.load("models", kind)
    entry.check(entry.Params(), shape)
    return entry.build(entry.Params(), shape, classes)


@pytest.mark.parametrize(
    ("kind", "shape", "parameters"),
    [("cnn-small", (3, 32, 32), 214_918), ("cnn-large", (3, 32, 32), 2_466_858), ("cnn-small", (1, 8, 8), 22_406)],
)
def test_size_is_that_of_the_literature(kind: str, shape: tuple[int, int, int], parameters: int) -> None:
    assert sum(parameter.numel() for parameter in _build(kind, shape).parameters()) == parameters


@pytest.mark.parametrize("kind", catalogue.kinds("models"))
def test_output_is_one_logit_a_class(kind: str) -> None:
    assert _build(kind, (2, 9, 12), classes=7)(torch.rand(3, 2, 9, 12)).shape == (3, 7)


@pytest.mark.parametrize("kind", catalogue.kinds("models"))
def test_smallest_image_that_passes_the_check_can_be_classified(kind: str) -> None:
    def fits(side: int) -> bool:
        try:
            return bool(_build(kind, (1, side, side)))
        except ValueError:
            return False

    side = next(side for side in range(1, 64) if fits(side))
    assert _build(kind, (1, side, side))(torch.rand(1, 1, side, side)).isfinite().all()


@pytest.mark.parametrize("kind", ["cnn-small", "cnn-large"])
@pytest.mark.parametrize("shape", [(3, 3, 32), (3, 32, 3), (1, 2, 2)])
def test_too_small_image_is_refused(kind: str, shape: tuple[int, int, int]) -> None:
    entry = catalogue.load("models", kind)
    with pytest.raises(ValueError, match=f"images of {shape[1]} x {shape[2]} pixels are too small"):
        entry.check(entry.Params(), shape)


@pytest.fixture
def normed() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4)), nn.Linear(4, 2)
    )


def test_weights_of_convolutions_and_linear_layers_are_prunable(normed: nn.Module) -> None:
    assert list(prunable_weights(normed)) == ["0.weight", "3.0.weight", "4.weight"]


def test_prunable_weights_are_the_parameters_themselves(normed: nn.Module) -> None:
    # Pruners write in place, so a copy would leave the network as it is.
    assert prunable_weights(normed)["3.0.weight"] is normed[3][0].weight


def test_norm_parameters_are_scales_and_shifts(normed: nn.Module) -> None:
    expected = [normed[1].weight, normed[1].bias, normed[3][1].weight, normed[3][1].bias]
    assert list(map(id, norm_parameters(normed))) == list(map(id, expected))
