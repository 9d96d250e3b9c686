"""Batches by the size of a network's activations."""

from __future__ import annotations

import pytest
import torch
from torch import fx, nn

from sparrow.adversary import batches
from sparrow.adversary.search import Bfloat16Network, SearchNetwork, search_network
from sparrow.inference.node_outputs import activation_bytes


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)).eval()


def test_activations_by_hand() -> None:
    image, network_of_layers = torch.rand(1, 1, 4, 4), fx.symbolic_trace(network())
    # Image, convolution, ReLU, and logits; the flattened maps are a view.
    assert activation_bytes(network_of_layers, image) == 4 * (16 + 32 + 32 + 3)
    with search_network(network(), image, "float32") as search:
        # The ReLU overwrites what it reads.
        assert activation_bytes(search.view, image) == 4 * (16 + 32 + 3)


@pytest.mark.parametrize(("budget", "batch"), [(332 * 100, 100), (332 * 101 - 1, 100), (332 * 10, 64), (332 * 1000, 512)])
def test_a_batch_is_as_large_as_its_activations_allow(budget: int, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "CACHED_BYTES", budget)
    images = torch.rand(3, 1, 4, 4)
    assert batches.suitable_batch(fx.symbolic_trace(network()), images) == batch
    assert batches.suitable_batch(network(), images) == batches.SMALLEST_BATCH
    assert batches.suitable_batch(fx.symbolic_trace(network()), images[:0]) == batches.SMALLEST_BATCH


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_logits_and_gradients_take_the_networks_own_batch(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "LARGEST_BATCH", 70)
    model, images, seen = network(), torch.rand(150, 1, 4, 4), list[int]()
    model.register_forward_hook(lambda module, arguments, output: seen.append(len(output)))
    with search_network(model, images, precision) as search:
        assert isinstance(search, Bfloat16Network) == (precision == "bfloat16")
        assert batches.logits(search, images).shape == (150, 3)
        batches.losses_and_gradients(search, images, lambda logits, places: logits[:, 0] + places, torch.arange(150))
    assert seen == [70, 70, 10] * 2
    assert batches.batch_size(SearchNetwork(model), images) == batches.batch_size(model, images) == batches.SMALLEST_BATCH


def test_a_search_follows_as_many_ways_at_once_on_every_device() -> None:
    assert batches.rows_at_once(SearchNetwork(network(), search_batch=77).to("meta")) == 77
    assert batches.rows_at_once(network()) == batches.SMALLEST_BATCH


def test_no_more_images_are_evaluated_at_once_than_are_asked_for() -> None:
    with search_network(network(), torch.rand(3, 1, 4, 4), "float32", 8) as search:
        assert batches.batch_size(search, torch.rand(20, 1, 4, 4)) == batches.rows_at_once(search) == 8


def test_elsewhere_all_images_go_at_once() -> None:
    assert batches.batch_size(SearchNetwork(network()), torch.rand(999, 1, 4, 4, device="meta")) == 999
