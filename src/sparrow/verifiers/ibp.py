"""Interval bound propagation: the cheapest sound bound, tight on networks trained for it.

Source: Gowal et al., "Scalable Verified Training for Provably Robust Image Classification", ICCV 2019.

BibTeX:

@inproceedings{gowal2019scalable,
  author = {Gowal, Sven and Dvijotham, Krishnamurthy and Stanforth, Robert and Bunel, Rudy and Qin, Chongli and Uesato,
    Jonathan and Arandjelović, Relja and Mann, Timothy and Kohli, Pushmeet},
  title = {Scalable Verified Training for Provably Robust Image Classification},
  booktitle = {IEEE/CVF International Conference on Computer Vision},
  year = {2019},
}
"""

from __future__ import annotations

from typing import ClassVar

from sparrow.lazy_torch import torch
from sparrow.settings import Norm, Threat
from sparrow.verification.params import Verification


class Params(Verification):
    """IBP has no settings of its own."""

    norms: ClassVar[tuple[Norm, ...]] = ("linf", "l2")


def bound(
    model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, params: Params, threat: Threat, classes: int
) -> torch.Tensor:
    """Lower bound (n,) on the smallest margin."""
    from sparrow.verification.bounds import smallest_margin

    with torch.no_grad():
        return smallest_margin(model, images, labels, threat, classes, "IBP")
