"""Attacks look at a network without the units that cannot matter, and find what they would find on the whole one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sparrow.adversary import search
from sparrow.adversary.geometry import distance
from sparrow.adversary.search import SearchNetwork, live_network, misclassified, search_network
from sparrow.attacks import autoattack, fgsm, fmn, pgd
from sparrow.jobs.costs import METER
from sparrow.networks.live_view import live_view
from sparrow.networks.normalise_layer import Normalise
from sparrow.settings import Threat
from tests.networks.pruned_networks import small

THREAT = Threat(eps=0.05)
ATTACKS = [
    (fgsm, fgsm.Params()),
    (pgd, pgd.Params(steps=5, restarts=2)),
    (fmn, fmn.Params(steps=10)),
    (autoattack, autoattack.Params(steps=5, queries=20)),
]


def double() -> tuple[nn.Module, Tensor, Tensor]:
    """A pruned network in double precision, in which rounding decides nothing."""
    model, images, labels = small()
    return model.double(), images.double(), labels


def run(entry: object, params: object, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    torch.manual_seed(0)
    return entry.attack(model, images, labels, params, THREAT, 4)


@pytest.mark.parametrize(("entry", "params"), ATTACKS, ids=lambda one: getattr(one, "__name__", ""))
def test_the_same_images_are_found(entry: object, params: object, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images, labels = double()
    assert live_view(model, (1, 8, 8)) is not model
    forward, whole, seen = nn.Sequential.forward, [], []

    def watched(this: nn.Sequential, given: Tensor) -> Tensor:
        if this is model:
            whole.append(isinstance(given, Tensor) and given.requires_grad)
        return forward(this, given)

    monkeypatch.setattr(nn.Sequential, "forward", watched)
    METER.start()
    with METER.watching(model):
        found, counted = run(entry, params, model, images, labels), METER.gradient_evaluations
        assert not any(whole)  # No gradient of the whole network is taken.
        monkeypatch.setattr(search, "live_view", lambda model, shape: seen.append(shape) or model)
        METER.start()
        expected = run(entry, params, model, images, labels)
        assert METER.gradient_evaluations == counted > 0
    assert seen
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert not torch.equal(found, images)
    assert not any(module.training for module in model.modules())
    assert not model._forward_hooks


def test_a_network_whose_units_all_matter_is_attacked_as_it_is() -> None:
    model, images, _ = small(0.0)
    assert live_network(model, images) is model


def test_what_fmn_finds_fools_the_network_itself() -> None:
    model, images, labels = small()
    assert isinstance(live_network(model, images), SearchNetwork)
    found = run(fmn, fmn.Params(steps=30), model, images, labels)
    moved = distance(found, images, "linf") > 0
    assert moved.any()
    assert (model(found[moved]).argmax(dim=1) != labels[moved]).all()


class Fixed(nn.Module):
    """Gives every image the same logits, and counts the images."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits, self.seen = torch.tensor([logits]), 0

    def forward(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        return self.logits.expand(len(images), -1)


@pytest.mark.parametrize(
    ("by_view", "by_network", "expected", "asked"),
    [
        ((9.0, 10.0), (9.0, 8.0), True, 0),
        # A millionth may be rounding, and the network itself is asked.
        ((10.0, 10.00001), (10.0, 10.0), False, 2),
        ((10.0, 10.00001), (10.0, 11.0), True, 2),
        ((10.00001, 10.0), (10.0, 11.0), False, 0),
    ],
)
def test_the_network_itself_decides_where_rounding_might(by_view: tuple, by_network: tuple, expected: bool, asked: int) -> None:
    full, images, labels = Fixed(*by_network), torch.zeros(2, 1, 1, 1), torch.zeros(2, dtype=torch.long)
    network = SearchNetwork(full, Fixed(*by_view))
    assert misclassified(network, images, labels, network(images)).tolist() == [expected] * 2
    assert full.seen == asked
    assert misclassified(full, images, labels, network(images)).tolist() == [by_view[1] > by_view[0]] * 2


def test_in_bfloat16_the_first_layer_of_a_view_that_is_not_folded_is_in_full() -> None:
    chain, images, _ = small()
    # `fixed_weights` leaves it as it is, for numbers of its first layer.
    model = nn.Sequential(Normalise([0.5], [0.5]), *chain).eval()
    with torch.no_grad(), search_network(model, images, "bfloat16") as network:
        assert network.full is model
        assert network.view is not model
        assert network.layered
        kinds: list[tuple[torch.dtype, torch.dtype]] = []
        for layer in (network.view[1], network.view[-1]):
            layer.register_forward_hook(lambda layer, given, output: kinds.append((given[0].dtype, output.dtype)))
        network(images)
        assert kinds == [(torch.float32, torch.float32), (torch.bfloat16, torch.bfloat16)]
        assert network(images).dtype == torch.float32
        assert float((network(images) - model(images)).abs().max()) < 0.05 * float(model(images).abs().max())
