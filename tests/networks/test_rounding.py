"""Rounding of weights, on numbers that a pencil can follow."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sparrow.networks.rounding import round_weights, rounded

LAYER = torch.tensor([[0.4, -1.0], [0.2, 0.3]])


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        # One step each way: of 1 in the first channel, of 0.3 in the second, of which 0.2 is two thirds.
        (2, [[0.0, -1.0], [0.3, 0.3]]),
        # Three steps: of 1/3, of which 0.4 is 1.2; and of 0.1.
        (3, [[1 / 3, -1.0], [0.2, 0.3]]),
    ],
)
def test_a_layer_worked_out_by_hand(bits: int, expected: list[list[float]]) -> None:
    assert torch.allclose(rounded(LAYER, bits), torch.tensor(expected), atol=1e-7)


def test_halves_go_to_the_even_integer() -> None:
    # With three steps of 1: 0.5 and 1.5, of either sign.
    assert rounded(torch.tensor([[3.0, 0.5, 1.5, -0.5, -1.5]]), 3).tolist() == [[3, 0, 2, 0, -2]]


def test_a_channel_of_zeros_and_every_zero_stay() -> None:
    weight = torch.randn(4, 3, 5, 5) * (torch.rand(4, 3, 5, 5) > 0.5)
    weight[1] = 0
    for bits in (2, 3, 8, 16):
        found = rounded(weight, bits)
        assert found.isfinite().all()
        assert not found[weight == 0].any()
        assert not found[1].any()


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 8, 16])
def test_rounding_twice_is_rounding_once_to_the_bit(bits: int) -> None:
    weight = torch.randn(200, 30) * torch.logspace(-30, 5, 200)[:, None]
    once = rounded(weight, bits)
    assert torch.equal(rounded(once, bits), once)
    # The largest of a channel is on its grid, and no error is more than half a step.
    largest = weight.abs().amax(1, keepdim=True)
    assert torch.equal(once.abs().amax(1, keepdim=True), largest)
    assert ((once - weight).abs() <= (0.5 + 1e-4) * largest / (2 ** (bits - 1) - 1)).all()
    assert max(len(row.unique()) for row in once) <= 2**bits - 1


def test_more_bits_are_nearer() -> None:
    weight = torch.randn(8, 100)
    errors = [float((rounded(weight, bits) - weight).square().sum()) for bits in (2, 3, 4, 6, 8)]
    assert errors == sorted(errors, reverse=True)


def test_folding_a_norm_before_or_after_gives_the_same() -> None:
    weight, scale = torch.randn(6, 20), torch.tensor([0.5, -2.0, 4.0, -0.25, 1.0, 8.0])[:, None]
    assert torch.equal(rounded(weight * scale, 4), rounded(weight, 4) * scale)


def test_of_a_network_what_can_be_pruned_is_rounded_and_nothing_else() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    round_weights(model, {"0.weight": 3, "4.weight": 2})
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"0.weight", "4.weight"}
    assert torch.equal(model.state_dict()["4.weight"], rounded(before["4.weight"], 2))


def test_a_layer_without_weights_stays_one() -> None:
    assert rounded(torch.zeros(3, 0), 4).shape == (3, 0)
