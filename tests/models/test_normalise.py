"""Networks that normalise their images by themselves: the same function, and bounds in the same norm."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sparrow import catalogue
from sparrow.errors import ConfigError
from sparrow.networks.cutting import without_filters
from sparrow.networks.structure import Layout
from sparrow.settings import Threat
from sparrow.verification.bounds import smallest_margin
from tests.workflow.conftest import TINY

NUMBERS = {"mean": [0.49, 0.48, 0.44], "std": [0.2, 0.25, 0.3]}
SHAPE = (3, 17, 16)
KINDS = [kind for kind in catalogue.kinds("models") if "normalise" in catalogue.load("models", kind).Params.model_fields]


def _pair(kind: str, normalise: dict = NUMBERS) -> tuple[nn.Module, nn.Module]:
    """A network that normalises, and one with the same weights that does not."""
    entry = catalogue.load("models", kind)
    torch.manual_seed(0)
    normalising = entry.build(entry.Params(normalise=normalise), SHAPE, 5).eval()
    plain = entry.build(entry.Params(), SHAPE, 5).eval()
    for parameter in plain.parameters():
        # TRADES' last layer begins with zeros.
        nn.init.normal_(parameter, std=0.1)
    normalising.load_state_dict(plain.state_dict(), strict=False)
    return normalising, plain


def plain_state(network: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict without what normalises."""
    return {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("front")}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("normalise", [NUMBERS, {"mean": [0.5], "std": [0.25]}])
def test_a_network_may_normalise_its_images(kind: str, normalise: dict) -> None:
    normalising, plain = _pair(kind, normalise)
    images = torch.rand(4, *SHAPE)
    mean, std = (torch.tensor(numbers).view(-1, 1, 1) for numbers in normalise.values())
    assert torch.allclose(normalising(images), plain((images - mean) / std), atol=1e-4)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("method", ["IBP", "CROWN"])
def test_its_bounds_are_those_of_the_same_function_without_it(norm: str, method: str) -> None:
    normalising, same = _pair("mlp")
    mean, std = (torch.tensor(numbers).repeat_interleave(17 * 16) for numbers in NUMBERS.values())
    same.load_state_dict({name: tensor.clone() for name, tensor in plain_state(normalising).items()})
    with torch.no_grad():
        same[1].bias -= same[1].weight @ (mean / std)
        same[1].weight /= std
    images = torch.rand(3, *SHAPE)
    labels = same(images).argmax(dim=1)
    found = [smallest_margin(one, images, labels, Threat(norm=norm, eps=0.01), 5, method) for one in (normalising, same)]
    # IBP takes the box around the l2 ball behind the layer that normalises, and so is wider; it has to be so for both norms.
    assert (
        torch.allclose(*found, rtol=1e-3, atol=1e-4) if (norm, method) != ("l2", "IBP") else (found[0] <= found[1] + 1e-4).all()
    )
    noise = torch.randn(200, 3, *SHAPE)
    ball = noise.sign() * 0.01 if norm == "linf" else noise * 0.01 / noise.flatten(2).norm(dim=2)[..., None, None, None]
    with torch.no_grad():
        logits = normalising((images + ball).clamp(0, 1).flatten(0, 1)).view(200, 3, 5)
    own = logits.gather(2, labels.expand(200, 3).unsqueeze(2)).squeeze(2)
    others = logits.scatter(2, labels.expand(200, 3).unsqueeze(2), -torch.inf).amax(dim=2)
    assert (found[0] <= (own - others).amin(dim=0) + 1e-4).all()


@pytest.mark.parametrize("kind", ["oval", "resnet2b"])
def test_its_filters_can_be_cut_out(kind: str) -> None:
    normalising, _ = _pair(kind)
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in normalising.named_parameters()}
    group = Layout(normalising, SHAPE).groups[0]
    with torch.no_grad():
        for layer in group.layers:
            masks[layer][:2] = False
            for name in (layer, layer.replace("weight", "bias")):
                normalising.get_parameter(name)[:2] = 0
    images = torch.rand(2, *SHAPE)
    assert torch.allclose(without_filters(normalising, SHAPE, masks)(images), normalising(images), atol=1e-5)


@pytest.mark.parametrize(
    ("normalise", "words"),
    [
        ({"mean": [0.5, 0.5], "std": [1.0]}, "normalise.mean has 2 numbers for images of 1 channels"),
        ({"mean": [0.5], "std": [0.0]}, "models.mlp.normalise.std.0: 0.0 is not valid: must be greater than 0"),
        ({"mean": [0.5]}, "models.mlp.normalise.std: missing"),
    ],
)
def test_numbers_that_do_not_fit_are_one_line(normalise: dict, words: str) -> None:
    from sparrow.study.load import load_study

    with pytest.raises(ConfigError, match=words):
        load_study(TINY | {"models": {"mlp": {"normalise": normalise}}})
