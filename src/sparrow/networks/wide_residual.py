"""Wide residual networks, under RobustBench's names.

Source: Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016; names and initialisation of TRADES' released code
(yaodongyu/TRADES, models/wideresnet.py), which RobustBench has taken over.
"""

from __future__ import annotations

from torch import Tensor, nn


class Block(nn.Module):
    """Batch norm and ReLU before each of two convolutions; a convolution as shortcut where the channels change."""

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(channels), nn.Conv2d(channels, planes, 3, stride, padding=1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(planes), nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.convShortcut = nn.Conv2d(channels, planes, 1, stride, bias=False) if channels != planes else None
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        active = self.relu1(self.bn1(images))
        inside = self.conv2(self.relu2(self.bn2(self.conv1(active))))
        return inside + (images if self.convShortcut is None else self.convShortcut(active))


class Group(nn.Module):
    """Blocks one after the other, the first with a stride."""

    def __init__(self, blocks: int, channels: int, planes: int, stride: int) -> None:
        super().__init__()
        rest = [Block(planes, planes, 1) for _ in range(blocks - 1)]
        self.layer = nn.Sequential(Block(channels, planes, stride), *rest)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images)


class WideResidual(nn.Module):
    """A convolution, three groups of blocks (16, 32 and 64 times `width` channels), an average, a linear layer."""

    def __init__(self, depth: int, width: int, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        blocks, channels = (depth - 4) // 6, [16, 16 * width, 32 * width, 64 * width]
        self.conv1 = nn.Conv2d(shape[0], channels[0], 3, padding=1, bias=False)
        self.block1 = Group(blocks, channels[0], channels[1], 1)
        self.block2 = Group(blocks, channels[1], channels[2], 2)
        self.block3 = Group(blocks, channels[2], channels[3], 2)
        self.bn1, self.relu = nn.BatchNorm2d(channels[3]), nn.ReLU()
        self.fc = nn.Linear(channels[3], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: Tensor) -> Tensor:
        inside = self.block3(self.block2(self.block1(self.conv1(images))))
        return self.fc(self.relu(self.bn1(inside)).mean(dim=(2, 3)))
