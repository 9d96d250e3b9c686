"""Connection sensitivity: the weights are removed whose removal would change the robust objective least.

With a gate `c` of 1 on every weight, the sensitivity is `|dL/dc| = |W * dL/dW|`; the largest stay. The gradient is
averaged over `batches` batches at the dense weights, which do not move. SNIP was made for networks at their
initialisation; here it is used on the pre-trained one, with the study's objective. Only weights compete, as for every method
here; in the released code biases do, too (158 of CNN-small's 22,406 parameters on digits).

Source: Lee et al., "SNIP: Single-shot Network Pruning based on Connection Sensitivity", ICLR 2019.

BibTeX:

@inproceedings{lee2019snip,
  author = {Lee, Namhoon and Ajanthan, Thalaiyasingam and Torr, Philip H. S.},
  title = {{SNIP}: Single-shot Network Pruning based on Connection Sensitivity},
  booktitle = {International Conference on Learning Representations},
  year = {2019},
}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.pruning.params import Batches, Criterion, Global, Patterned

if TYPE_CHECKING:
    from sparrow.pruning.pruner import Pruner


class Params(Batches, Global, Patterned):
    """On how many batches the gradient is taken, and where scores compete."""

    criterion: ClassVar[Criterion | None] = "LIS"
    allocation: Literal["uniform", "erk", "lamp", "global"] = "global"
    """As in `lwm`; the paper's scores compete over the whole network."""
    batches: int | None = Field(1, ge=1)
    """Batches that the gradient is averaged over, one in the paper; one whole epoch if null."""


def prepare(params: Params, ratio: float, generator: torch.Generator) -> Pruner:
    """A pruner that keeps the largest `|W * dL/dW|`."""
    from sparrow.pruning.sensitivity import Sensitivity

    def score(weight: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        return (weight * gradient).abs()

    return Sensitivity(params, ratio, score)
