"""The table in docs/bounds.md says what is so: which bound, and what else looks into a network, takes which layer.

`python tests/verification/test_bounds_table.py` writes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow import catalogue
from sparrow.errors import NetworkError
from sparrow.networks.cutting import cut
from sparrow.networks.live_view import live_view
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import Layout, filter_masks, require_followed
from sparrow.settings import Threat
from sparrow.verification.decision import decide_by
from tests.verification.refutation import ROUNDING, margin, points

PATH = Path(__file__).parents[2] / "docs/bounds.md"
KINDS = {
    "ibp": {},
    "crown-ibp": {},
    "crown": {},
    "alpha-crown": {"iterations": 2},
    "branch-and-bound": {"iterations": 2, "domains": 4, "attack_steps": 1, "attack_restarts": 1},
}
THREATS = Threat(eps=0.01), Threat(norm="l2", eps=0.05)
SHAPE, MAPS = (1, 6, 6), 4


class Written(nn.Module):
    """The operation, between a convolution and a linear layer."""

    def __init__(self, operation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.operation = operation

    def forward(self, values: Tensor) -> Tensor:
        return self.operation(values)


class ChannelNorm(nn.LayerNorm):
    """A layer norm over the channels of maps."""

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


LAYERS = {
    "ReLU": nn.ReLU,
    "LeakyReLU, any slope": lambda: nn.LeakyReLU(2.0),
    "PReLU": lambda: nn.Sequential(nn.PReLU(), nn.PReLU(MAPS)),
    "Sigmoid, Tanh": lambda: nn.Sequential(nn.Sigmoid(), nn.Tanh()),
    "SiLU, Mish": lambda: nn.Sequential(nn.SiLU(), nn.Mish()),
    "Softplus": nn.Softplus,
    "ELU, SELU, CELU": lambda: nn.Sequential(nn.ELU(), nn.SELU(), nn.CELU(0.7)),
    "GELU": lambda: nn.Sequential(nn.GELU(), nn.GELU("tanh")),
    "Hardtanh, ReLU6": lambda: nn.Sequential(nn.Hardtanh(-2, 2), nn.ReLU6()),
    "Hardswish": nn.Hardswish,
    "Hardsigmoid": nn.Hardsigmoid,
    "square root, above 0": lambda: Written(lambda x: torch.sqrt(x.relu() + 1)),
    "product of two layers": lambda: Written(lambda x: x * torch.sigmoid(x)),
    "Conv2d: stride, padding, dilation": lambda: nn.Conv2d(MAPS, MAPS, 3, 2, 2, 2),
    "Conv2d: depthwise": lambda: nn.Conv2d(MAPS, MAPS, 3, padding=1, groups=MAPS),
    "Conv2d: groups": lambda: nn.Conv2d(MAPS, MAPS, 3, padding=1, groups=2),
    'Conv2d: padding="same", odd kernel': lambda: nn.Conv2d(MAPS, MAPS, 3, padding="same"),
    'Conv2d: padding="same", even kernel': lambda: nn.Conv2d(MAPS, MAPS, 2, padding="same"),
    'Conv2d: padding_mode="reflect"': lambda: nn.Conv2d(MAPS, MAPS, 3, padding=1, padding_mode="reflect"),
    "ZeroPad2d": lambda: nn.ZeroPad2d((1, 0, 0, 1)),
    "BatchNorm2d, with or without affine": lambda: nn.Sequential(nn.BatchNorm2d(MAPS, affine=False), nn.BatchNorm2d(MAPS)),
    "LayerNorm": lambda: nn.LayerNorm([MAPS, 6, 6]),
    "LayerNorm of channels": lambda: ChannelNorm(MAPS),
    "GroupNorm": lambda: nn.GroupNorm(2, MAPS),
    "InstanceNorm2d": lambda: nn.InstanceNorm2d(MAPS, affine=True),
    "AvgPool2d: stride, padding": lambda: nn.AvgPool2d(3, 2, 1),
    "AdaptiveAvgPool2d(1), mean over pixels": lambda: nn.AdaptiveAvgPool2d(1),
    "AdaptiveAvgPool2d, not dividing": lambda: nn.AdaptiveAvgPool2d(4),
    "MaxPool2d, stride = kernel": lambda: nn.MaxPool2d(2),
    "MaxPool2d, overlapping or padded": lambda: nn.MaxPool2d(3, 2, 1),
    "normalisation inside, (x - mean) / std": lambda: Written(lambda x: (x - 0.5) / 0.25),
    "residual addition": lambda: Written(lambda x: x + functional.relu(x)),
    "concatenation": lambda: Written(lambda x: torch.cat([x, functional.relu(x)], 1)),
    "halves of the channels change places": lambda: Written(lambda x: torch.cat(x.chunk(2, 1)[::-1], 1)),
    "x.view(x.size(0), -1), flatten, reshape": lambda: Written(lambda x: x.view(x.size(0), -1)),
    "Dropout": lambda: nn.Dropout(0.5),
}


def _network(layer: Callable[[], nn.Module]) -> nn.Module:
    """The layer between a convolution and a ReLU, and a linear layer."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, MAPS, 3, padding=1), layer(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)).eval()
    model(torch.zeros(1, *SHAPE))
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


def _refused(error: NetworkError, named: str) -> str:
    """The cell of what is refused: in one line, which says by one of the words `named` what it is about."""
    assert re.search(named, str(error)), error
    assert "\n" not in str(error)
    return "–"


def _bounded(layer: Callable[[], nn.Module], kind: str) -> str:
    """Whether a verifier takes the layer under both norms; what it proves is held against points of the perturbation sets."""
    model, entry = _network(layer), catalogue.load("verifiers", kind)
    images = torch.rand(2, *SHAPE)
    labels = model(images).argmax(dim=1)
    for threat in THREATS:
        try:
            found = decide_by(entry, kind, model, images, labels, entry.Params(**KINDS[kind]), threat, 3)
        except NetworkError as error:
            return _refused(error, "layer 1|Conv|forward pass|operation")
        there = points(model, images, labels, threat, 3)
        with torch.no_grad():
            least = torch.stack([margin(model(some), labels) for some in there]).amin(dim=0)
        assert (found.margins[~found.falsified] <= least[~found.falsified] + ROUNDING).all(), f"{kind} is wrong"
    return "yes"


def _smoothed(layer: Callable[[], nn.Module]) -> str:
    """Whether the network under noise has a class; that is so of all that runs."""
    entry, model = catalogue.load("verifiers", "smoothing"), _network(layer)
    images = (torch.rand(2, *SHAPE) * 255).round() / 255
    params = entry.Params(sigma=0.1, n0=10, n=100)
    classes, margins = entry.certify(model, images, params, THREATS[1], 3, torch.Generator().manual_seed(0), 255)
    assert (classes < 3).all()
    assert margins.isfinite().all()
    return "yes"


def _trained(layer: Callable[[], nn.Module]) -> str:
    """Whether the objective crown-ibp has a gradient of all weights, in train mode, on a batch of two images and of one."""
    entry = catalogue.load("objectives", "crown-ibp")
    for size in (2, 1):
        model, loss = _network(layer).train(), entry.prepare(entry.Params(), Threat(eps=0.01))
        try:
            loss(model, torch.rand(size, *SHAPE), torch.arange(size), 0.5).backward()
        except NetworkError as error:
            return _refused(error, "layer 1|Conv|forward pass|operation")
        assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in prunable_weights(model).values())
    return "yes"


def _cut(layer: Callable[[], nn.Module]) -> str:
    """Whether any filter in front of the layer can be cut out (yes), only some together (blocks), or none (zeros)."""
    for gone, word in (([3], "yes"), ([2, 3], "blocks"), ([1, 3], "blocks")):
        model = _network(layer)
        try:
            require_followed(model, SHAPE)
        except NetworkError:
            return "–"
        masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in prunable_weights(model).items()}
        layout = Layout(model, SHAPE)
        for name in layout.groups[0].layers:
            masks[name][gone] = False
        masks |= filter_masks(model, layout, masks)
        for name, mask in masks.items():
            model.get_parameter(name).data.mul_(mask)
        try:
            found = cut(model, SHAPE, masks, torch.rand(4, *SHAPE))
        except NetworkError as error:
            _refused(error, "filters")
            continue
        if found.uncut is None:
            assert len(found.model[0].weight) == MAPS - len(gone)
            return word
    return "zeros"


def _viewed(layer: Callable[[], nn.Module]) -> str:
    """Whether attacks and bounds look at the network without a filter of zeros in front of the layer."""
    model = _network(layer)
    model[0].weight.data[3] = model[0].bias.data[3] = 0
    view = live_view(model, SHAPE)
    assert view is model or len(view[0].weight) < MAPS
    return "–" if view is model else "yes"


OTHERS = {"smoothing": _smoothed, "trained by crown-ibp": _trained, "filters cut": _cut, "live view": _viewed}
HEAD = [*KINDS, *OTHERS]


def _row(name: str) -> str:
    layer = LAYERS[name]
    cells = [_bounded(layer, kind) for kind in KINDS] + [tried(layer) for tried in OTHERS.values()]
    return f"| {name} | {' | '.join(cells)} |"


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_table_is_what_is_so(name: str) -> None:
    assert _row(name) in PATH.read_text().splitlines()


if __name__ == "__main__":
    before, _, rest = PATH.read_text().partition("| layer | ibp | crown-ibp")
    after = rest.partition("\n\n")[2]
    head = [f"| layer | {' | '.join(HEAD)} |", f"|---|{'---|' * len(HEAD)}"]
    PATH.write_text(before + "\n".join([*head, *map(_row, LAYERS)]) + "\n\n" + after)
