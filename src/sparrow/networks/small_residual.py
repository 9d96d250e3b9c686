"""Small residual networks without batch norm, for verification.

Source: Verified-Intelligence/alpha-beta-CROWN, complete_verifier/model_defs.py (CResNet5, CResNet7), commit 8250d5f.
"""

from __future__ import annotations

from torch import Tensor, nn

HIDDEN = 100


class Block(nn.Module):
    """Two convolutions with bias, and a shortcut: one by a convolution of 1 x 1 where the shape changes."""

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 3, stride, padding=1)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1)
        self.shortcut = nn.Sequential(*([nn.Conv2d(channels, planes, 1, stride)] if stride > 1 or channels != planes else []))
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        return self.relu2(self.conv2(self.relu1(self.conv1(images))) + self.shortcut(images))


class SmallResidual(nn.Module):
    """A convolution with stride 2, `groups` groups of two blocks of twice its channels, each with stride 2, two linear layers.

    The modules of `front` come first.
    """

    def __init__(
        self, channels: int, groups: int, shape: tuple[int, int, int], classes: int, front: list[nn.Module] | None = None
    ) -> None:
        super().__init__()
        self.front = nn.Sequential(*(front or []))
        self.conv1 = nn.Conv2d(shape[0], channels, 3, 2, padding=1)
        (height, width), planes = (-(-side // 2) for side in shape[1:]), 2 * channels
        self.groups = [f"layer{number}" for number in range(1, groups + 1)]
        for name in self.groups:
            self.add_module(name, nn.Sequential(Block(channels, planes, 2), Block(planes, planes, 1)))
            channels, height, width = planes, -(-height // 2), -(-width // 2)
        self.linear1 = nn.Linear(channels * height * width, HIDDEN)
        self.linear2 = nn.Linear(HIDDEN, classes)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        inside = self.relu1(self.conv1(self.front(images)))
        for name in self.groups:
            inside = getattr(self, name)(inside)
        return self.linear2(self.relu2(self.linear1(inside.flatten(1))))
