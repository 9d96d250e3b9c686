"""Pre-activation ResNet-18 in its CIFAR form.

11,172,170 parameters on 3 x 32 x 32 images and 10 classes.

Source: He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016; blocks and names of
kuangliu/pytorch-cifar.

BibTeX:

@inproceedings{he2016identity,
  author = {He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian},
  title = {Identity Mappings in Deep Residual Networks},
  booktitle = {European Conference on Computer Vision},
  year = {2016},
}
"""

from __future__ import annotations

from typing import ClassVar

from sparrow.lazy_torch import torch
from sparrow.networks.params import Architecture, Narrowest


class Params(Architecture):
    """The last layers, in which the two forms in use differ."""

    batch_norm: ClassVar[bool] = True
    narrowest: ClassVar[Narrowest] = Narrowest("conv1.weight", 64)
    bn_before_fc: bool = True
    """Batch norm and ReLU before the last average, as in the paper and in Rice et al., "Overfitting in Adversarially Robust
    Deep Learning", ICML 2020 (RobustBench's `bn_before_fc` and `out_shortcut`); kuangliu/pytorch-cifar does without."""

    def inputs(self, shape: tuple[int, int, int]) -> dict[str, int]:
        """Of the first layer."""
        return {"conv1.weight": 9 * shape[0]}


def check(params: Params, shape: tuple[int, int, int]) -> None:
    """Images of any size fit."""


def build(params: Params, shape: tuple[int, int, int], classes: int) -> torch.nn.Module:
    """The network, freshly initialised."""
    from sparrow.networks import residual

    return residual.Residual(residual.PreActivated, "last" if params.bn_before_fc else "none", shape, classes)
