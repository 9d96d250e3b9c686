"""ResNet-50 in its ImageNet form: a 7 x 7 convolution with stride 2, pooling, 16 bottleneck blocks.

25,557,032 parameters on images of 3 channels and 1,000 classes. It shrinks images 32 times: `resnet18` suits small ones
better. auto_LiRPA 0.3 knows no overlapping max pooling, so that only IBP bounds it.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; torchvision's.

BibTeX:

@inproceedings{he2016deep,
  author = {He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian},
  title = {Deep Residual Learning for Image Recognition},
  booktitle = {IEEE Conference on Computer Vision and Pattern Recognition},
  year = {2016},
}
"""

from __future__ import annotations

from typing import ClassVar

from sparrow.lazy_torch import torch
from sparrow.networks.params import Architecture, Narrowest


class Params(Architecture):
    """Nothing to set."""

    batch_norm: ClassVar[bool] = True
    narrowest: ClassVar[Narrowest] = Narrowest("conv1.weight", 64)
    graftable: ClassVar[bool] = False  # torchvision's blocks run one ReLU three times, on maps of different shapes.

    def inputs(self, shape: tuple[int, int, int]) -> dict[str, int]:
        """Of the first layer."""
        return {"conv1.weight": 49 * shape[0]}


def check(params: Params, shape: tuple[int, int, int]) -> None:
    """Images of any size fit."""


def build(params: Params, shape: tuple[int, int, int], classes: int) -> torch.nn.Module:
    """The network, with torchvision's initialisation."""
    from torchvision.models import resnet50

    model = resnet50(num_classes=classes)
    if shape[0] != 3:
        model.conv1 = torch.nn.Conv2d(shape[0], 64, 7, stride=2, padding=3, bias=False)
        torch.nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    for module in model.modules():
        # Bounds need what went into a ReLU.
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    return model
