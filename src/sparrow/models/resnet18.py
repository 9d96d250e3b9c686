"""ResNet-18 in its CIFAR form: 3 x 3 convolutions, no pooling but the last.

11,173,962 parameters on 3 x 32 x 32 images and 10 classes.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; the form of kuangliu/pytorch-cifar, which is the
Adversarial Pruning Benchmark's base model (pralab/AdversarialPruningBenchmark, models/base_resnet18.py).

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

    def inputs(self, shape: tuple[int, int, int]) -> dict[str, int]:
        """Of the first layer."""
        return {"conv1.weight": 9 * shape[0]}


def check(params: Params, shape: tuple[int, int, int]) -> None:
    """Images of any size fit."""


def build(params: Params, shape: tuple[int, int, int], classes: int) -> torch.nn.Module:
    """The network, freshly initialised."""
    from sparrow.networks import residual

    return residual.Residual(residual.Basic, "first", shape, classes)
