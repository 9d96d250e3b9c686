"""The table in docs/bounds.md says what is so: which bound takes which layer.

`python tests/verification/test_bounds_table.py` writes it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow import catalogue
from sparrow.errors import NetworkError
from sparrow.settings import Threat
from sparrow.verification.decision import decide_by

PATH = Path(__file__).parents[2] / "docs/bounds.md"
KINDS = {
    "ibp": {},
    "crown-ibp": {},
    "crown": {},
    "alpha-crown": {"iterations": 2},
    "branch-and-bound": {"iterations": 2, "domains": 4, "attack_steps": 1, "attack_restarts": 1},
}
THREATS = Threat(eps=0.01), Threat(norm="l2", eps=0.05)


class Written(nn.Module):
    """The operation, between a convolution and a linear layer."""

    def __init__(self, operation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.operation = operation

    def forward(self, values: Tensor) -> Tensor:
        return self.operation(values)


LAYERS = {
    "ReLU": nn.ReLU,
    "LeakyReLU, any slope": lambda: nn.LeakyReLU(2.0),
    "Sigmoid, Tanh, SiLU": lambda: nn.Sequential(nn.Sigmoid(), nn.Tanh(), nn.SiLU()),
    "Softplus": nn.Softplus,
    "ELU": nn.ELU,
    "GELU": nn.GELU,
    "Hardtanh, ReLU6": nn.ReLU6,
    "PReLU": nn.PReLU,
    "square root, above 0": lambda: Written(lambda x: torch.sqrt(x.relu() + 1)),
    "product of two layers": lambda: Written(lambda x: x * torch.sigmoid(x)),
    "Conv2d: stride, padding, groups, dilation": lambda: nn.Conv2d(2, 2, 3, 2, 2, 2, 2),
    'Conv2d: padding="same", odd kernel': lambda: nn.Conv2d(2, 2, 3, padding="same"),
    'Conv2d: padding="same", even kernel': lambda: nn.Conv2d(2, 2, 2, padding="same"),
    'Conv2d: padding_mode="reflect"': lambda: nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"),
    "ZeroPad2d": lambda: nn.ZeroPad2d((1, 0, 0, 1)),
    "BatchNorm2d, with or without affine": lambda: nn.BatchNorm2d(2, affine=False),
    "LayerNorm": lambda: nn.LayerNorm([2, 6, 6]),
    "AvgPool2d: stride, padding": lambda: nn.AvgPool2d(3, 2, 1),
    "AdaptiveAvgPool2d(1), mean over pixels": lambda: nn.AdaptiveAvgPool2d(1),
    "MaxPool2d, stride = kernel": lambda: nn.MaxPool2d(2),
    "MaxPool2d, overlapping or padded": lambda: nn.MaxPool2d(3, 2, 1),
    "normalisation inside, (x - mean) / std": lambda: Written(lambda x: (x - 0.5) / 0.25),
    "residual addition": lambda: Written(lambda x: x + functional.relu(x)),
    "x.view(x.size(0), -1), flatten, reshape": lambda: Written(lambda x: x.view(x.size(0), -1)),
    "Dropout, in eval mode": lambda: nn.Dropout(0.5),
}


def _takes(layer: Callable[[], nn.Module], kind: str) -> bool:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), layer(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)).eval()
    images, entry = torch.rand(2, 1, 6, 6), catalogue.load("verifiers", kind)
    labels = model(images).argmax(dim=1)
    try:
        for threat in THREATS:
            decide_by(entry, kind, model, images, labels, entry.Params(**KINDS[kind]), threat, 3)
    except NetworkError:
        return False
    return True


def _row(name: str) -> str:
    return f"| {name} | {' | '.join('yes' if _takes(LAYERS[name], kind) else '–' for kind in KINDS)} |"


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_table_is_what_is_so(name: str) -> None:
    assert _row(name) in PATH.read_text().splitlines()


if __name__ == "__main__":
    before, _, rest = PATH.read_text().partition("| layer | ibp")
    after = rest.partition("\n\n")[2]
    head = [f"| layer | {' | '.join(KINDS)} |", f"|---|{'---|' * len(KINDS)}"]
    PATH.write_text(before + "\n".join([*head, *map(_row, LAYERS)]) + "\n\n" + after)
