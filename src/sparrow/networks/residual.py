"""Residual networks for small images, under the names that the field's checkpoints have.

Sources: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; He et al., "Identity Mappings in Deep Residual
Networks", ECCV 2016; the CIFAR form and its names: kuangliu/pytorch-cifar. Images of any size: the last average is over the
whole map, which is 4 x 4 for images of 32 x 32.
"""

from __future__ import annotations

from torch import Tensor, nn


class Basic(nn.Module):
    """Two convolutions with batch norm behind each, and a shortcut."""

    expansion = 1

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(channels, planes, 3, stride), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = _conv(planes, planes, 3), nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if (channels, stride) != (planes, 1):
            self.shortcut = nn.Sequential(_conv(channels, planes, 1, stride), nn.BatchNorm2d(planes))
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        inside = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(images)))))
        return self.relu2(inside + self.shortcut(images))


class PreActivated(nn.Module):
    """Two convolutions with batch norm and ReLU before each; a shortcut with a convolution starts behind the first of these."""

    expansion = 1

    def __init__(self, channels: int, planes: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(channels), _conv(channels, planes, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(planes), _conv(planes, planes, 3)
        if (channels, stride) != (planes, 1):
            self.shortcut = nn.Sequential(_conv(channels, planes, 1, stride))
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        active = self.relu1(self.bn1(images))
        straight = self.shortcut(active) if hasattr(self, "shortcut") else images
        return self.conv2(self.relu2(self.bn2(self.conv1(active)))) + straight


class Residual(nn.Module):
    """A convolution, four layers of two blocks (64 to 512 channels, the last three with stride 2), an average, a linear layer.

    `norm` says whether batch norm and ReLU are behind the convolution (`first`), before the average (`last`), or at neither
    place (`none`).
    """

    def __init__(self, block: type[nn.Module], norm: str, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.conv1 = _conv(shape[0], 64, 3)
        if norm == "first":
            self.bn1, self.relu1 = nn.BatchNorm2d(64), nn.ReLU()
        self.layer1 = nn.Sequential(block(64, 64, 1), block(64, 64, 1))
        self.layer2 = nn.Sequential(block(64, 128, 2), block(128, 128, 1))
        self.layer3 = nn.Sequential(block(128, 256, 2), block(256, 256, 1))
        self.layer4 = nn.Sequential(block(256, 512, 2), block(512, 512, 1))
        if norm == "last":
            self.bn, self.relu = nn.BatchNorm2d(512), nn.ReLU()
        self.linear = nn.Linear(512, classes)

    def forward(self, images: Tensor) -> Tensor:
        inside = self.conv1(images)
        if hasattr(self, "bn1"):
            inside = self.relu1(self.bn1(inside))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            inside = layer(inside)
        if hasattr(self, "bn"):
            inside = self.relu(self.bn(inside))
        return self.linear(inside.mean(dim=(2, 3)))


def _conv(channels: int, planes: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, planes, kernel, stride, padding=kernel // 2, bias=False)
