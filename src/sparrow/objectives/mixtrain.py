"""MixTrain: cross-entropy on all images, and now and then a verified loss on a few of them.

With probability `probability`, a batch's loss gains `w` times the cross-entropy of the worst logits of `samples` random
images of it, bounded by symbolic intervals. Along the ramp eps grows from 0 to its target; from its end on `w`
grows from `weight` by `weight_growth` every `growth_epochs` epochs, up to `weight_limit`. eps grows with every step here, and
epoch by epoch in HYDRA's code, where it is half an epoch's growth smaller on average (a thirtieth of eps on 15 epochs).

Batch norms normalise both losses by the whole batch; one image, as `samples: 1` bounds, has no statistics of its own.

The symbolic intervals of the paper bound a ReLU from both sides by lines of one slope; that is auto_LiRPA's CROWN with
the option `same-slope`.

Source: Wang et al., "MixTrain: Scalable Training of Verifiably Robust Neural Networks", arXiv 1811.02625; settings of
HYDRA's released code (inspire-group/hydra, trainer/mixtrain.py).

BibTeX:

@misc{wang2018mixtrain,
  author = {Wang, Shiqi and Chen, Yizheng and Abdou, Ahmed and Jana, Suman},
  title = {{MixTrain}: Scalable Training of Verifiably Robust Neural Networks},
  year = {2018},
  eprint = {1811.02625},
  archiveprefix = {arXiv},
}
"""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.settings import Threat
from sparrow.training.objective_params import IBPInitialisation


class Params(IBPInitialisation):
    """How often, on how many images, and with what weight."""

    probability: float = Field(0.8, ge=0, le=1)
    """Share of the batches with a verified loss."""
    samples: int = Field(5, ge=1)
    """Images of such a batch that are bounded (k in the paper)."""
    weight: float = Field(0.1, gt=0)
    """Weight of the verified loss along the ramp."""
    weight_growth: float = Field(2.5, ge=1)
    """Factor of the weight after the ramp, every `growth_epochs` epochs."""
    growth_epochs: int = Field(5, ge=1)
    """Epochs between two growths of the weight."""
    weight_limit: float = Field(50.0, gt=0)
    """Largest weight."""


def prepare(params: Params, threat: Threat) -> Callable:
    """The loss: `CE(f(x), y)`, and in some batches `w` times the verified loss of a few images on top."""
    from sparrow.training.certified_loss import Bounds, worst_case

    bounds = Bounds({"relu": "same-slope"})
    functional = torch.nn.functional

    def loss(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, progress: float) -> torch.Tensor:
        if progress == 0 or float(torch.rand(())) >= params.probability:
            return functional.cross_entropy(model(images), labels)
        few = torch.randint(len(images), (params.samples,)).to(images.device)

        ramped = Threat(norm=threat.norm, eps=progress * threat.eps)
        verified = worst_case(bounds.margins(model, images[few], labels[few], ramped, "CROWN", normalised_by=images))
        return functional.cross_entropy(model(images), labels) + weight_at(params, progress) * verified

    return loss


def weight_at(params: Params, progress: float) -> float:
    """Weight of the verified loss: `progress` knows how many epochs ago the ramp ended; a plain number is at its end."""
    growths = int(getattr(progress, "epochs_past_ramp", 0.0) // params.growth_epochs)
    return min(params.weight * params.weight_growth**growths, params.weight_limit)


def initialise(params: Params, model: torch.nn.Module, generator: torch.Generator) -> None:
    """Draw the initial weights of `model` (on the CPU) anew, in place, if `params.initialisation` asks for it."""
    params.initialise(model, generator)
